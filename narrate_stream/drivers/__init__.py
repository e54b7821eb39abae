"""Drivers: who moves the avatar, and how."""
