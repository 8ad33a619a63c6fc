"""The page `Compression` of TensorBoard, which finds it by the entry point `tensorboard_plugins`. No TensorFlow."""

from segopt_callbacks.board.plugin import BoardPlugin

__all__ = ["BoardPlugin"]
