"""From one portrait photograph to a relightable, free-view, animatable avatar, live over WebRTC."""

__version__ = "0.1.0"
