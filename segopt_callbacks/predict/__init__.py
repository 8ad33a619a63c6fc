"""The command `segopt-predict`: an exported file on images of any size. Imports no TensorFlow by itself."""

from segopt_callbacks.predict.command import main
from segopt_callbacks.predict.pictures import PictureError, open_picture

__all__ = ["PictureError", "main", "open_picture"]
