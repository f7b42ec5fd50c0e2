"""The check in microseconds: it says yes, or that it does not know. Rejections that repeat are remembered here, too."""
