"""What is asked of models about labels, and what is made of the answers."""
