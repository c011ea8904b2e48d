"""A convolution on a graph: the neighbours of a vertex take the place of the neighbours of a pixel (lesson 13)."""

import torch
from torch import Tensor, nn


class GraphConv(nn.Module):
    """Each vertex becomes w0 of itself plus the sum of w1 of its neighbours.

    A pixel has eight neighbours, each in its own place, and a 3×3 convolution has weights for each of them. A vertex
    has any number of neighbours in no order, so all of them share the same weights. PyTorch3D's layer of the same name,
    for edges that run both ways; its weights can be loaded.

    Args:
        input_dim, output_dim: features of a vertex, before and after.
        init: weights at the start. "normal": with a deviation of 0.01; "zero"; or "kaiming": features before a ReLU
            stay about as large as they were, if a vertex has six neighbours (the mean on a closed mesh of triangles)
            that differ from each other; where they agree, features grow by two each time. Biases are 0.

    Raises:
        ValueError: `init` has another name.

    Source: Gkioxari et al. 2019, "Mesh R-CNN", section 3, "Graph Convolution", without its ReLU.
    """

    def __init__(self, input_dim: int, output_dim: int, init: str = "normal"):
        super().__init__()
        deviations = {"normal": (0.01, 0.01), "zero": (0.0, 0.0), "kaiming": (input_dim**-0.5, (6 * input_dim) ** -0.5)}
        if init not in deviations:
            raise ValueError(f"init is {init!r}; expected 'normal', 'zero' or 'kaiming'")
        self.input_dim, self.output_dim = input_dim, output_dim
        self.w0 = nn.Linear(input_dim, output_dim)
        self.w1 = nn.Linear(input_dim, output_dim)
        for layer, deviation in zip((self.w0, self.w1), deviations[init]):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, verts: Tensor, edges: Tensor) -> Tensor:
        """Move features along edges.

        Args:
            verts: (V, input_dim) features of the vertices.
            edges: (E, 2) int64, each edge once, as places of its two vertices.

        Returns:
            (V, output_dim).

        Raises:
            ValueError: a shape does not fit.
        """
        if verts.ndim != 2 or verts.shape[1] != self.input_dim:
            raise ValueError(f"verts is {tuple(verts.shape)}; expected (V, {self.input_dim})")
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype != torch.int64:
            raise ValueError(f"edges is {tuple(edges.shape)} {edges.dtype}; expected (E, 2) int64")
        own, sent = self.w0(verts), self.w1(verts)  # (V, output_dim) each
        start, end = edges.unbind(1)  # (E,) each
        return own.index_add(0, start, sent[end]).index_add(0, end, sent[start])  # (V, output_dim)
