"""What is measured: one final Suite class per file, pure metric functions, and the data they are measured on."""
