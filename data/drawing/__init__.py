"""How the sample characters are drawn: one module for each part of a picture."""
