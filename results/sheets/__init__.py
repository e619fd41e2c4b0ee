"""One record on a page: a certificate, or its description."""
