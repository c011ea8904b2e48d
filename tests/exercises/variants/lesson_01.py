"""Answers to the exercises of lesson 01 as others write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def weight_only(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None, None])
    return conv


def transposed_weight_assigned(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight = nn.Parameter(linear.weight.detach().t().clone()[:, :, None, None])
    conv.bias = nn.Parameter(linear.bias.detach().clone())
    return conv


def channels_swapped(linear):
    return nn.Conv2d(linear.out_features, linear.in_features, 1)


def swapped_and_assigned(linear):
    conv = nn.Conv2d(linear.out_features, linear.in_features, 1)
    conv.weight.data = linear.weight.data[:, :, None, None]
    return conv


def fresh(linear):
    return nn.Conv2d(linear.in_features, linear.out_features, 1)


def three_by_three(linear):
    return nn.Conv2d(linear.in_features, linear.out_features, 3, padding=1)


def padded(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, padding=1)
    conv.weight.data.copy_(linear.weight.data[:, :, None, None])
    conv.bias.data.copy_(linear.bias.data)
    return conv


def same_memory(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight.data = linear.weight.data[:, :, None, None]
    conv.bias.data = linear.bias.data
    return conv


def bias_shared(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight.data.copy_(linear.weight.data[:, :, None, None])
    conv.bias = linear.bias
    return conv


def frozen(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1).requires_grad_(False)
    conv.weight.copy_(linear.weight[:, :, None, None].detach())
    conv.bias.copy_(linear.bias.detach())
    return conv


def parameters_made_anew(linear):
    classes, features = linear.weight.shape
    conv = nn.Conv2d(features, classes, (1, 1))
    conv.weight = nn.Parameter(linear.weight.detach().clone().view(classes, features, 1, 1))
    conv.bias = nn.Parameter(linear.bias.detach().clone())
    return conv


def state_dict_loaded(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.load_state_dict({"weight": linear.weight[..., None, None], "bias": linear.bias})
    return conv


def weights_in_place(features, classifier, class_index):
    with torch.no_grad():
        features *= classifier.weight[class_index][None, :, None, None]
        return features.sum(1) + classifier.bias[class_index]


def by_conv2d(features, classifier, class_index):
    weight = classifier.weight[class_index : class_index + 1, :, None, None]
    return F.conv2d(features, weight, classifier.bias[class_index : class_index + 1]).squeeze(1)


def all_then_one(features, classifier, class_index):
    return classifier(features.permute(0, 2, 3, 1))[..., class_index]


def true_division(height, width, layers):
    for k, s, p, _ in layers:
        height, width = (height + 2 * p - k) / s + 1, (width + 2 * p - k) / s + 1
    return height, width


def by_recursion(height, width, layers):
    if not layers:
        return height, width
    first, *rest = layers
    sides = [len(range(0, side + 2 * first.padding - first.kernel + 1, first.stride)) for side in (height, width)]
    return by_recursion(*sides, rest)


def by_pooling(height, width, layers):
    x = torch.zeros(1, 1, height, width)
    for layer in layers:
        x = F.avg_pool2d(F.pad(x, (layer.padding,) * 4), layer.kernel, layer.stride)
    return x.shape[-2], x.shape[-1]


def field(layers):
    size = step = 1
    for kernel, stride, _, _ in layers:
        size, step = size + (kernel - 1) * step, step * stride
    return size, step


def from_the_top(layers):
    size = 1
    for layer in reversed(layers):
        size = (size - 1) * layer.stride + layer.kernel
    return size, math.prod(layer.stride for layer in layers)


def bias_as_made(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight.data.copy_(fc.weight.data.view(conv.weight.shape))
    return conv


def wide_for_high(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (width, height))
    conv.weight.data.copy_(fc.weight.data.view(conv.weight.shape))
    conv.bias.data.copy_(fc.bias.data)
    return conv


def one_by_one(fc, channels, height, width):
    conv = nn.Conv2d(channels * height * width, fc.out_features, 1)
    conv.weight.data.copy_(fc.weight.data[:, :, None, None])
    conv.bias.data.copy_(fc.bias.data)
    return conv


def new_kernel(fc, channels, height, width):
    return nn.Conv2d(channels, fc.out_features, (height, width))


def same_padding(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width), padding="same")
    conv.weight.data.copy_(fc.weight.data.view(conv.weight.shape))
    conv.bias.data.copy_(fc.bias.data)
    return conv


def view_of_the_weights(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight = nn.Parameter(fc.weight.data.view(-1, channels, height, width))
    conv.bias = nn.Parameter(fc.bias.data)
    return conv


def never_trained_again(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight.data.copy_(fc.weight.data.view(conv.weight.shape))
    conv.bias.data.copy_(fc.bias.data)
    return conv.requires_grad_(False)


def by_unflatten(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight = nn.Parameter(fc.weight.detach().clone().unflatten(1, (channels, height, width)))
    conv.bias = nn.Parameter(fc.bias.detach().clone())
    return conv


def by_loop(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    with torch.no_grad():
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    conv.weight[:, channel, row, column] = fc.weight[:, (channel * height + row) * width + column]
        conv.bias.copy_(fc.bias)
    return conv


def own_order(images, order):
    return images.flatten(2)[:, :, torch.randperm(len(order))].view(images.shape)


def left_flat(images, order):
    return images.flatten(2)[:, :, order]


def by_gather(images, order):
    flat = images.flatten(2)
    return flat.gather(2, order.expand_as(flat)).unflatten(2, images.shape[2:])


def by_rows_and_columns(images, order):
    width = images.shape[3]
    return images[:, :, order // width, order % width].reshape(images.shape)


def kernel_size_lies(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (width, height))
    conv.weight = nn.Parameter(fc.weight.detach().clone().view(-1, channels, height, width))
    conv.bias = nn.Parameter(fc.bias.detach().clone())
    return conv


WRONG = {
    "linear_as_1x1_conv": [
        ("bias not copied", weight_only),
        ("channels swapped", transposed_weight_assigned),
        ("channels swapped", channels_swapped),
        ("channels swapped", swapped_and_assigned),
        ("weights not copied", fresh),
        ("kernel of the wrong shape", three_by_three),
        ("stride or padding added", padded),
        ("memory shared", same_memory),
        ("memory shared", bias_shared),
        ("cannot be trained", frozen),
    ],
    "class_heatmap": [("input changed in place", weights_in_place)],
    "feature_size": [("a float instead of an int", true_division)],
    "receptive_field": [],
    "flatten_fc_as_conv": [
        ("bias not copied", bias_as_made),
        ("height and width swapped", wide_for_high),
        ("kernel of the wrong shape", one_by_one),
        ("made for another shape", kernel_size_lies),
        ("weights not copied", new_kernel),
        ("stride or padding added", same_padding),
        ("memory shared", view_of_the_weights),
        ("cannot be trained", never_trained_again),
    ],
    "shuffle_pixels": [("changes from call to call", own_order), ("other shape", left_flat)],
}

RIGHT = {
    "linear_as_1x1_conv": [parameters_made_anew, state_dict_loaded],
    "class_heatmap": [by_conv2d, all_then_one],
    "feature_size": [by_recursion, by_pooling],
    "receptive_field": [field, from_the_top],
    "flatten_fc_as_conv": [by_unflatten, by_loop],
    "shuffle_pixels": [by_gather, by_rows_and_columns],
}
