"""The online side, and deployment files."""
