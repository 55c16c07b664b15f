"""The agent on a device: claims runs, does them in a confined child, signs, submits.

It dials out only, and it never imports the server: the two meet in ``contract``.
"""
