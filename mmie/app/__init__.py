"""Web page and HTTP API of `mmie serve`."""
