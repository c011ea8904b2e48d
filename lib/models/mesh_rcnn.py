"""Mesh R-CNN: from a box to voxels, from voxels to a mesh, and from there to a better mesh (lesson 13).

Voxels may take any form, a ring too, but they are coarse; a mesh is fine, but moving its vertices never makes a hole.
So the *voxel branch* says which of S × S × S cells are occupied, `cubify` turns them into a mesh, and the stages of the
*mesh refinement branch* move its vertices: each reads the maps at the vertices, lets neighbours talk, and says how far
every vertex moves. All this happens in the frustum behind the box (`lib.ops.frustum`), where x and y are places in the
box. Layers have the names of the official weights. Source: Gkioxari et al. 2019, "Mesh R-CNN", section 3; how deep a
thing is, the *z head*: its appendix.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.frozen_trunk import FrozenTrunk
from lib.layers.graph_conv import GraphConv
from lib.ops.frustum import depths_from, frustum_to_camera
from lib.ops.mesh_losses import chamfer_distance, mesh_edge_loss
from lib.ops.meshes import Meshes, cubify, sample_points_from_meshes, vert_align


class VoxelHead(nn.Module):
    """Like a mask head, with a channel for each depth: a column of voxels behind each cell of the box.

    Args:
        in_channels, size: of regions, (R, in_channels, size, size).
        channels, convolutions: of the 3 × 3 convolutions.
    """

    def __init__(self, in_channels: int, size: int, channels: int = 256, convolutions: int = 4):
        super().__init__()
        self.convolutions = convolutions
        for number in range(1, convolutions + 1):
            layer = nn.Conv2d(in_channels if number == 1 else channels, channels, 3, padding=1)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            self.add_module(f"voxel_fcn{number}", layer)
        self.deconv = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, 2 * size, 1)
        nn.init.normal_(self.predictor.weight, std=0.001)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, size, size) -> logits (R, S, S, S) with S = 2 · size: depth, row, column."""
        x = regions
        for number in range(1, self.convolutions + 1):
            x = F.relu(self.get_submodule(f"voxel_fcn{number}")(x))
        return self.predictor(F.relu(self.deconv(x)))


class ZHead(nn.Module):
    """How deep is it, compared with how high it looks? One number a region, the logarithm of `relative_extent`."""

    def __init__(self, in_features: int, channels: int):
        super().__init__()
        self.z_fc1 = nn.Linear(in_features, channels)
        self.z_fc2 = nn.Linear(channels, channels)
        self.z_pred = nn.Linear(channels, 1)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, size, size) -> (R,)."""
        hidden = F.relu(self.z_fc2(F.relu(self.z_fc1(regions.flatten(1)))))  # (R, channels)
        return self.z_pred(hidden)[:, 0]


class MeshRefinementStage(nn.Module):
    """Read the map at each vertex, let neighbours talk, move the vertices.

    The official weights start with a deviation of 0.01, and what a vertex reads is all but lost after three layers: in
    thousands of steps it grows, in hundreds it does not. Here they start as is usual before a ReLU.

    Args:
        img_feat_dim: channels of the map. vert_feat_dim: features that a vertex has from the stage before; may be 0.
        hidden_dim: features that it has from here on. stage_depth: how many graph convolutions.
    """

    def __init__(self, img_feat_dim: int, vert_feat_dim: int, hidden_dim: int, stage_depth: int):
        super().__init__()
        self.bottleneck = nn.Linear(img_feat_dim, hidden_dim)
        inputs = [hidden_dim + vert_feat_dim, *[hidden_dim] * (stage_depth - 1)]
        self.gconvs = nn.ModuleList(GraphConv(size + 3, hidden_dim, init="kaiming") for size in inputs)
        self.verts_offset = nn.Linear(hidden_dim + 3, 3)
        nn.init.kaiming_normal_(self.bottleneck.weight, nonlinearity="relu")
        nn.init.zeros_(self.verts_offset.weight)  # at first nothing moves
        for layer in (self.bottleneck, self.verts_offset):
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor, meshes: Meshes, vert_feats: Tensor | None) -> tuple[Meshes, Tensor]:
        """One stage.

        Args:
            regions: (R, img_feat_dim, size, size), one for each mesh.
            meshes: R meshes, x and y from -1 to 1 in the box.
            vert_feats: (ΣV, vert_feat_dim) from the stage before; None in the first.

        Returns:
            The same meshes with their vertices moved, each by less than 1 along x, y and z; features (ΣV, hidden_dim).
        """
        places, edges = meshes.verts_packed(), meshes.edges_packed()  # (ΣV, 3), (ΣE, 2)
        # Vertices at -1 and 1 lie on the box's sides, and so on the outer sides of the map's cells.
        read = vert_align(regions, meshes, padding_mode="border", align_corners=False)  # (ΣV, img_feat_dim)
        feats = F.relu(self.bottleneck(read))  # (ΣV, hidden_dim)
        if vert_feats is not None:
            feats = torch.cat([vert_feats, feats], dim=1)  # (ΣV, vert_feat_dim + hidden_dim)
        for gconv in self.gconvs:
            feats = F.relu(gconv(torch.cat([feats, places], dim=1), edges))  # (ΣV, hidden_dim)
        moves = torch.tanh(self.verts_offset(torch.cat([feats, places], dim=1)))  # (ΣV, 3)
        return meshes.offset_verts(moves), feats


class MeshHead(nn.Module):
    """Several stages after one another; each has weights of its own and goes on with the features of the one before."""

    def __init__(self, in_channels: int, stages: int = 3, hidden_dim: int = 128, stage_depth: int = 3):
        super().__init__()
        self.stages = nn.ModuleList(
            MeshRefinementStage(in_channels, hidden_dim if number else 0, hidden_dim, stage_depth)
            for number in range(stages)
        )

    def forward(self, regions: Tensor, meshes: Meshes) -> list[Meshes]:
        """Regions (R, C, size, size) and their R meshes -> the meshes after each stage."""
        refined, feats = [], None
        for stage in self.stages:
            meshes, feats = stage(regions, meshes, feats)
            refined.append(meshes)
        return refined


def occupied_mesh(probabilities: Tensor, thresh: float) -> Meshes:
    """(R, S, S, S) -> R meshes of the voxels that reach `thresh`; where none does, of the likeliest, so none is empty.

    -1 and 1 are the outer sides of the grid, as they are of the box.
    """
    best = probabilities.flatten(1).amax(1).clamp(max=thresh)[:, None, None, None]  # (R, 1, 1, 1)
    return cubify((probabilities >= best).to(probabilities), 0.5, align="corner")


def mesh_rcnn_loss(meshes: list[Meshes], points: Tensor, normals: Tensor) -> dict[str, Tensor]:
    """How far the meshes are from the truth, each part averaged over the stages.

    Args:
        meshes: after each stage, R of them.
        points, normals: (R, Q, 3) each, drawn from the true surfaces. As many are drawn from each mesh.

    Returns:
        "loss_chamfer", "loss_normals", "loss_edge", not weighted yet.
    """
    parts = []
    for one in meshes:
        drawn, directions = sample_points_from_meshes(one, points.shape[1], return_normals=True)  # (R, Q, 3) each
        chamfer, turned = chamfer_distance(drawn, points, x_normals=directions, y_normals=normals)
        parts.append((chamfer, turned, mesh_edge_loss(one)))
    names = ("loss_chamfer", "loss_normals", "loss_edge")
    return {name: torch.stack(stages).mean() for name, stages in zip(names, zip(*parts), strict=True)}


class MeshRCNN(nn.Module):
    """A frozen trunk, and a head that gives the things in boxes a shape. Where the boxes come from is left open.

    Args:
        trunk: of a trained detector.
        size: cells along each side of a region for the voxel and z heads. The grid of voxels has twice as many, S.
        mesh_size: cells along each side of a region for the mesh head, whose vertices read between the cells.
        channels, convolutions: of the voxel head; `channels` also of the z head.
        stages, hidden_dim, stage_depth: of the mesh head.
        cubify_thresh: a voxel with at least this probability is occupied.
        weights: of "loss_voxel", "loss_z", "loss_chamfer", "loss_normals", "loss_edge".
    """

    def __init__(
        self,
        trunk: FrozenTrunk,
        size: int = 12,
        mesh_size: int = 14,
        channels: int = 256,
        convolutions: int = 4,
        stages: int = 3,
        hidden_dim: int = 128,
        stage_depth: int = 3,
        cubify_thresh: float = 0.2,
        weights: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 0.1, 0.2),
    ):
        super().__init__()
        self.trunk, self.size, self.mesh_size, self.grid = trunk, size, mesh_size, 2 * size
        self.voxel_head = VoxelHead(trunk.out_channels, size, channels, convolutions)
        self.z_head = ZHead(trunk.out_channels * size * size, channels)
        self.mesh_head = MeshHead(trunk.out_channels, stages, hidden_dim, stage_depth)
        self.cubify_thresh, self.weights = cubify_thresh, weights

    def forward(self, images: Tensor | list[Tensor], boxes: list[Tensor]) -> list[dict[str, Tensor | list[Meshes]]]:
        """Give the things in boxes a shape.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W), 0..1.
            boxes: for each picture (K_i, 4) xyxy pixels, such as a detector's; K_i may be 0.

        Returns:
            For each picture {"boxes": (K, 4), "voxels": (K, S, S, S) probabilities, "extent": (K,) relative extents,
            "meshes": a list of K meshes in the frustum: as cubified, then after each stage}. `place_meshes` takes them
            to metres.

        Raises:
            ValueError: pictures and sets of boxes do not fit together.
        """
        voxels, extents, steps = self.predict_in(self.regions(images, boxes))
        found: list[dict[str, Tensor | list[Meshes]]] = []
        start = 0
        for one in boxes:
            mine = slice(start, start + len(one))
            meshes = [Meshes(step.verts[mine], step.faces[mine]) for step in steps]
            found.append({"boxes": one, "voxels": voxels[mine], "extent": extents[mine], "meshes": meshes})
            start += len(one)
        return found

    def regions(self, images: Tensor | list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What the trunk says in R boxes: (R, C, size, size) for voxels, (R, C, mesh_size, mesh_size) for vertices."""
        coarse, fine = self.trunk.regions(images, boxes, self.size, self.mesh_size)
        return coarse, fine

    def predict_in(self, regions: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, list[Meshes]]:
        """Shapes in R regions, see `regions`.

        Returns:
            Probabilities of voxels (R, S, S, S), relative extents (R,), and R meshes: as cubified, then after each
            stage.
        """
        coarse, fine = regions
        voxels, extents = self.voxel_head(coarse).sigmoid(), self.z_head(coarse).exp()  # (R, S, S, S), (R,)
        first = occupied_mesh(voxels, self.cubify_thresh)
        return voxels, extents, [first, *self.mesh_head(fine, first)]

    def loss(self, images: Tensor | list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """What is to become small, weighted. The mesh head learns on what the voxel head says now, right or wrong.

        Args:
            images: as for `forward`.
            targets: for each picture {"boxes": (K, 4) xyxy pixels, "voxels": (K, S, S, S) bool, "surface_points" and
                "surface_normals": (K, Q, 3), "extent": (K,)}, all in the frustum of the box.

        Returns:
            {"loss_voxel", "loss_z", "loss_chamfer", "loss_normals", "loss_edge"}; all 0 if there is no box.

        Raises:
            ValueError: an entry has the wrong shape.
        """
        regions = self.regions(images, [target["boxes"] for target in targets])
        names = ("voxels", "surface_points", "surface_normals", "extent")
        return self.loss_in(regions, {name: torch.cat([target[name] for target in targets]) for name in names})

    def loss_in(self, regions: tuple[Tensor, Tensor], truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same for R regions, see `regions`, and the truth of all of them together."""
        coarse, fine = regions
        truth = {name: value.to(coarse) for name, value in truth.items()}
        self._check(truth, len(coarse))
        logits, extents = self.voxel_head(coarse), self.z_head(coarse)  # (R, S, S, S), (R,)
        if not len(coarse):
            zero = logits.sum() + extents.sum()
            return {f"loss_{name}": zero for name in ("voxel", "z", "chamfer", "normals", "edge")}
        losses = {
            "loss_voxel": F.binary_cross_entropy_with_logits(logits, truth["voxels"]),
            "loss_z": F.l1_loss(extents, truth["extent"].log()),
        }
        meshes = self.mesh_head(fine, occupied_mesh(logits.detach().sigmoid(), self.cubify_thresh))
        losses |= mesh_rcnn_loss(meshes, truth["surface_points"], truth["surface_normals"])
        return {name: weight * part for (name, part), weight in zip(losses.items(), self.weights, strict=True)}

    def _check(self, truth: dict[str, Tensor], count: int) -> None:
        points = truth["surface_points"].shape[1]
        expected = {
            "voxels": (count, *[self.grid] * 3),
            "surface_points": (count, points, 3),
            "surface_normals": (count, points, 3),
            "extent": (count,),
        }
        for name, shape in expected.items():
            if truth[name].shape != shape:
                raise ValueError(f"targets has {name} {tuple(truth[name].shape)} in all; expected {shape}")


def place_meshes(meshes: Meshes, boxes: Tensor, extents: Tensor, distances: Tensor, intrinsics: Tensor) -> Meshes:
    """From the frustum to the camera frame, metres.

    Args:
        meshes: K of them. boxes: (K, 4) xyxy pixels. extents: (K,) as predicted.
        distances: (K,) metres to the middle of each thing. A picture does not say: what is twice as large and twice as
            far away looks the same. The paper, too, takes the true ones.
        intrinsics: (3, 3), see `camera_to_frustum`.
    """
    verts = [
        frustum_to_camera(one, box, depths_from(extent, distance, box, intrinsics), intrinsics)
        for one, box, extent, distance in zip(meshes.verts, boxes, extents.tolist(), distances.tolist(), strict=True)
    ]
    return Meshes(verts, meshes.faces)


def mesh_rcnn_small(trunk: FrozenTrunk) -> MeshRCNN:
    """The one of lesson 13, on a small detector's trunk: 8 × 8 × 8 voxels, three stages."""
    return MeshRCNN(trunk, size=4, mesh_size=12, channels=64, convolutions=2, hidden_dim=64, cubify_thresh=0.4)
