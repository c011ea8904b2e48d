"""Linear layers with ReLU between them: what turns a query's state into a box or a mask (lesson 14 on)."""

from torch import Tensor, nn


class MLP(nn.Module):
    """`num_layers` linear layers, with ReLU after each but the last. Attribute names are those of DETR's code.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers is {num_layers}; expected at least 1")
        sizes = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes[:-1], sizes[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input_dim) -> (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()  # (..., hidden_dim)
        return self.layers[-1](x)
