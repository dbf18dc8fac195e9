"""File formats of extraction results."""

__all__ = ["conversion", "graph_page", "graphs", "text", "turtle"]
