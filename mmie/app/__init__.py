"""The web page and its endpoint: `mmie serve`."""
