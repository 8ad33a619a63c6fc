"""The command `segopt-predict`: an exported file on images of any size. Imports no TensorFlow by itself."""

from segopt_callbacks.predict.command import main
from segopt_callbacks.predict.pictures import PictureError, open_picture
from segopt_callbacks.predict.segmenter import Scaling

__all__ = ["PictureError", "Scaling", "main", "open_picture"]
