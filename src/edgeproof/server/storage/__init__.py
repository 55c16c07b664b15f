"""Where artifacts' bytes lie: a port, a folder, and any S3-compatible store."""
