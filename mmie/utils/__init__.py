"""Helpers that know nothing about posts: files, devices, distributed ranks, optional packages, text."""
