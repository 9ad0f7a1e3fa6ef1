"""The mask explorer: interactive DropBlock, in a notebook or on a page."""

from dropblock_lib.explorer.widget import MaskExplorer

__all__ = ["MaskExplorer"]
