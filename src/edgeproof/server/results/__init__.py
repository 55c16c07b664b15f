"""Results as they are kept: listed, compared, measured ones added."""
