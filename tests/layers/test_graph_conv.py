import pytest
import torch

from lib.layers.graph_conv import GraphConv
from lib.ops.meshes import cubify


def loop_truth(layer, verts, edges):
    """One vertex at a time, one neighbour at a time."""
    neighbours = {place: [] for place in range(len(verts))}
    for one, two in edges.tolist():
        neighbours[one].append(two)
        neighbours[two].append(one)
    rows = []
    for place, own in enumerate(verts):
        row = layer.w0.weight @ own + layer.w0.bias
        for other in neighbours[place]:
            row = row + layer.w1.weight @ verts[other] + layer.w1.bias
        rows.append(row)
    return torch.stack(rows)


def graph(seed=0, count=9, edges=14, features=4):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.combinations(torch.arange(count))
    chosen = pairs[torch.randperm(len(pairs), generator=generator)[:edges]]
    return torch.randn(count, features, generator=generator, dtype=torch.float64), chosen


def redrawn(layer, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        parameter.data.normal_(generator=generator)
    return layer.double()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_a_loop_over_neighbours(seed):
    layer = redrawn(GraphConv(4, 3))
    verts, edges = graph(seed)
    torch.testing.assert_close(layer(verts, edges), loop_truth(layer, verts, edges))


def test_a_line_of_three_by_hand():
    layer = GraphConv(1, 1)
    for parameter, value in zip(layer.parameters(), (2.0, 0.5, 10.0, 1.0)):  # w0 and its bias, w1 and its bias
        parameter.data.fill_(value)
    verts, edges = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0, 1], [2, 1]])
    assert layer(verts, edges).flatten().tolist() == [2.5 + 21, 4.5 + 11 + 31, 6.5 + 21]


def test_neither_the_order_nor_the_sense_of_edges_matters_and_a_lone_vertex_keeps_to_itself():
    layer = redrawn(GraphConv(4, 5))
    verts, edges = graph()
    torch.testing.assert_close(layer(verts, edges), layer(verts, edges.flip(0).flip(1)))
    torch.testing.assert_close(layer(verts, edges[:0]), layer.w0(verts))
    assert layer(verts[:0], edges[:0]).shape == (0, 5)


def test_gradients():
    layer = redrawn(GraphConv(4, 2))
    verts, edges = graph()
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, edges), (verts.requires_grad_(), *layer.parameters()))


def test_weights_at_the_start_and_their_names():
    torch.manual_seed(0)
    layer = GraphConv(40, 50)
    assert set(layer.state_dict()) == {"w0.weight", "w0.bias", "w1.weight", "w1.bias"}  # PyTorch3D's
    assert 0.009 < layer.w0.weight.std() < 0.011 and 0.009 < layer.w1.weight.std() < 0.011
    assert not layer.w0.bias.any() and not layer.w1.bias.any()
    verts, edges = graph(features=40)
    assert not GraphConv(40, 50, init="zero").double()(verts, edges).any()


@pytest.mark.parametrize(("init", "least", "most"), [("kaiming", 0.5, 10), ("normal", 0, 0.001)])
def test_how_large_features_are_after_three_layers(init, least, most):
    torch.manual_seed(0)
    meshes = cubify(torch.ones(1, 6, 6, 6), 0.5)  # closed: a vertex has six neighbours less 12 / V, in the mean
    features = torch.randn(len(meshes.verts[0]), 64)
    for layer in [GraphConv(64, 64, init=init) for _ in range(3)]:
        features = layer(features, meshes.edges_packed()).relu()  # (V, 64)
    assert least < features.square().mean() < most


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: GraphConv(2, 2, init="ones"), "init"),
        (lambda: GraphConv(2, 2)(torch.zeros(3, 4), torch.zeros(0, 2).long()), "verts"),
        (lambda: GraphConv(2, 2)(torch.zeros(3), torch.zeros(0, 2).long()), "verts"),
        (lambda: GraphConv(2, 2)(torch.zeros(3, 2), torch.zeros(1, 3).long()), "edges"),
        (lambda: GraphConv(2, 2)(torch.zeros(3, 2), torch.zeros(1, 2)), "edges"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
