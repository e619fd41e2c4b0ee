"""What samples are compared in: extractors of features, each with all that moves a number taken of them."""
