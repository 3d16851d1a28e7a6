"""What a model sees: pictures of its tokens, of p(actor) by place, and of its last attention."""

from __future__ import annotations

from edge.explain.model import ExplainableModel, Explanation, open_model
from edge.explain.pictures import Picture, write_pictures

__all__ = ["ExplainableModel", "Explanation", "Picture", "open_model", "write_pictures"]
