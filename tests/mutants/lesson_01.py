"""Answers to the exercises of lesson 01 as learners might write them: the wrong ones by the mistake they make."""

import math

import torch
import torch.nn.functional as F
from torch import nn

# --- linear_as_1x1_conv -------------------------------------------------------------------------------------------


def without_bias(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=False)
    conv.weight = nn.Parameter(linear.weight.detach().clone().unsqueeze(-1).unsqueeze(-1))
    return conv


def bias_set_to_zero(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None, None])
        conv.bias.zero_()
    return conv


def weight_only(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None, None])
    return conv


def transposed(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.t().reshape(conv.weight.shape))
        conv.bias.copy_(linear.bias)
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


# --- class_heatmap ------------------------------------------------------------------------------------------------


def no_bias(features, classifier, class_index):
    return torch.einsum("bchw,c->bhw", features, classifier.weight[class_index])


def bias_inside_the_sum(features, classifier, class_index):
    weight = classifier.weight[class_index][None, :, None, None]
    return (features * weight + classifier.bias[class_index]).sum(dim=1)


def mean_of_products(features, classifier, class_index):
    weight = classifier.weight[class_index][None, :, None, None]
    return (features * weight).mean(dim=1) + classifier.bias[class_index]


def class_probabilities(features, classifier, class_index):
    scores = F.conv2d(features, classifier.weight[:, :, None, None], classifier.bias)
    return torch.softmax(scores, dim=1)[:, class_index]


def place_probabilities(features, classifier, class_index):
    scores = F.conv2d(features, classifier.weight[:, :, None, None], classifier.bias)[:, class_index]
    return F.softmax(scores.flatten(start_dim=1), dim=-1).reshape(scores.shape)


def column_of_the_table(features, classifier, class_index):
    return torch.einsum("bchw,c->bhw", features, classifier.weight[:, class_index]) + classifier.bias[class_index]


def pooled_first(features, classifier, class_index):
    return classifier(F.adaptive_avg_pool2d(features, 1).flatten(1))[:, class_index]


def every_class(features, classifier, class_index):
    return F.conv2d(features, classifier.weight[:, :, None, None], classifier.bias)


def picture_for_class(features, classifier, class_index):
    return F.conv2d(features, classifier.weight[:, :, None, None], classifier.bias)[class_index]


def detached(features, classifier, class_index):
    weight = classifier.weight[class_index].detach()[None, :, None, None]
    return (features * weight).sum(1) + classifier.bias[class_index]


def weights_in_place(features, classifier, class_index):
    with torch.no_grad():
        features *= classifier.weight[class_index][None, :, None, None]
        return features.sum(1) + classifier.bias[class_index]


def by_conv2d(features, classifier, class_index):
    weight = classifier.weight[class_index : class_index + 1, :, None, None]
    return F.conv2d(features, weight, classifier.bias[class_index : class_index + 1]).squeeze(1)


def all_then_one(features, classifier, class_index):
    return classifier(features.permute(0, 2, 3, 1))[..., class_index]


# --- feature_size -------------------------------------------------------------------------------------------------


def width_first(height, width, layers):
    for layer in layers:
        height = (height + 2 * layer.padding - layer.kernel) // layer.stride + 1
        width = (width + 2 * layer.padding - layer.kernel) // layer.stride + 1
    return width, height


def ceiling(height, width, layers):
    for k, s, p, _ in layers:
        height = math.ceil((height + 2 * p - k) / s) + 1
        width = math.ceil((width + 2 * p - k) / s) + 1
    return height, width


def one_padding(height, width, layers):
    for k, s, p, _ in layers:
        height, width = (height + p - k) // s + 1, (width + p - k) // s + 1
    return height, width


def fence_posts(height, width, layers):
    for k, s, p, _ in layers:
        height, width = (height + 2 * p - k) // s, (width + 2 * p - k) // s
    return height, width


def one_inside(height, width, layers):
    for k, s, p, _ in layers:
        height, width = (height + 2 * p - k + 1) // s, (width + 2 * p - k + 1) // s
    return height, width


def strides_only(height, width, layers):
    for layer in layers:
        height //= layer.stride
        width //= layer.stride
    return height, width


def last_layer(height, width, layers):
    new_height, new_width = height, width
    for k, s, p, _ in layers:
        new_height, new_width = (height + 2 * p - k) // s + 1, (width + 2 * p - k) // s + 1
    return new_height, new_width


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


# --- receptive_field ----------------------------------------------------------------------------------------------


def step_first(layers):
    size, step = field(layers)
    return step, size


def no_strides_in_size(layers):
    return 1 + sum(layer.kernel - 1 for layer in layers), math.prod(layer.stride for layer in layers)


def kernel_whole(layers):
    size = step = 1
    for layer in layers:
        size += layer.kernel * step
        step *= layer.stride
    return size, step


def step_updated_first(layers):
    size = step = 1
    for layer in layers:
        step *= layer.stride
        size += (layer.kernel - 1) * step
    return size, step


def padding_seen(layers):
    size = step = 1
    for layer in layers:
        size += (layer.kernel - 1 + 2 * layer.padding) * step
        step *= layer.stride
    return size, step


def steps_added(layers):
    size, _ = field(layers)
    return size, sum(layer.stride for layer in layers) if layers else 1


def last_step(layers):
    size, _ = field(layers)
    return size, layers[-1].stride if layers else 1


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


# --- flatten_fc_as_conv -------------------------------------------------------------------------------------------


def bias_gone(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width), bias=False)
    conv.weight.data.copy_(fc.weight.data.view(conv.weight.shape))
    return conv


def bias_as_made(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight.data.copy_(fc.weight.data.view(conv.weight.shape))
    return conv


def channels_fastest(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight.data.copy_(fc.weight.data.reshape(-1, height, width, channels).movedim(3, 1))
    conv.bias.data.copy_(fc.bias.data)
    return conv


def rows_fastest(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight.data.copy_(fc.weight.data.reshape(-1, channels, width, height).mT)
    conv.bias.data.copy_(fc.bias.data)
    return conv


def turned(fc, channels, height, width):
    conv = nn.Conv2d(channels, fc.out_features, (height, width))
    conv.weight.data.copy_(torch.rot90(fc.weight.data.view(conv.weight.shape), 2, (2, 3)))
    conv.bias.data.copy_(fc.bias.data)
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


# --- shuffle_pixels -----------------------------------------------------------------------------------------------


def sent_instead_of_fetched(images, order):
    flat = images.flatten(2)
    shuffled = torch.empty_like(flat)
    shuffled[:, :, order] = flat
    return shuffled.view(images.shape)


def colours_torn_apart(images, order):
    flat = images.reshape(images.shape[0], images.shape[2] * images.shape[3], images.shape[1])
    return flat[:, order, :].reshape(images.shape)


def down_the_columns(images, order):
    flat = images.permute(0, 1, 3, 2).reshape(images.shape[0], images.shape[1], -1)[..., order]
    return flat.reshape(images.shape[0], images.shape[1], images.shape[3], images.shape[2]).permute(0, 1, 3, 2)


def nothing_moved(images, order):
    return images.flatten(2).view(images.shape)


def own_order(images, order):
    return images.flatten(2)[:, :, torch.randperm(len(order))].view(images.shape)


def one_long_list(images, order):
    flat = images.flatten(1)
    return flat[:, order].view(images.shape)


def left_flat(images, order):
    return images.flatten(2)[:, :, order]


def by_gather(images, order):
    flat = images.flatten(2)
    return flat.gather(2, order.expand_as(flat)).unflatten(2, images.shape[2:])


def by_rows_and_columns(images, order):
    width = images.shape[3]
    return images[:, :, order // width, order % width].reshape(images.shape)


WRONG = {
    "linear_as_1x1_conv": [
        ("bias lost", without_bias),
        ("bias lost", bias_set_to_zero),
        ("bias not copied", weight_only),
        ("weight transposed", transposed),
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
    "class_heatmap": [
        ("bias forgotten", no_bias),
        ("bias added once per channel", bias_inside_the_sum),
        ("average for sum", mean_of_products),
        ("softmax over the classes", class_probabilities),
        ("softmax over the cells", place_probabilities),
        ("a column of the weights for a row", column_of_the_table),
        ("averaged before asking", pooled_first),
        ("all classes returned", every_class),
        ("class taken from the batch", picture_for_class),
        ("gradient cut off", detached),
        ("input changed in place", weights_in_place),
    ],
    "feature_size": [
        ("height and width swapped", width_first),
        ("rounded up", ceiling),
        ("padding counted once", one_padding),
        ("first place forgotten", fence_posts),
        ("1 added before dividing", one_inside),
        ("kernel forgotten", strides_only),
        ("only the last layer", last_layer),
        ("a float instead of an int", true_division),
    ],
    "receptive_field": [
        ("size and step swapped", step_first),
        ("stride not multiplied in", no_strides_in_size),
        ("kernel added instead of kernel − 1", kernel_whole),
        ("own stride counted too early", step_updated_first),
        ("padding counted in", padding_seen),
        ("strides added up", steps_added),
        ("only the last stride", last_step),
    ],
    "flatten_fc_as_conv": [
        ("bias lost", bias_gone),
        ("bias not copied", bias_as_made),
        ("channels read as the last axis", channels_fastest),
        ("rows and columns swapped", rows_fastest),
        ("kernel flipped", turned),
        ("height and width swapped", wide_for_high),
        ("kernel of the wrong shape", one_by_one),
        ("weights not copied", new_kernel),
        ("stride or padding added", same_padding),
        ("memory shared", view_of_the_weights),
        ("cannot be trained", never_trained_again),
    ],
    "shuffle_pixels": [
        ("the order used the other way round", sent_instead_of_fetched),
        ("channels mixed with pixels", colours_torn_apart),
        ("counted column by column", down_the_columns),
        ("order ignored", nothing_moved),
        ("channels flattened too", one_long_list),
        ("changes from call to call", own_order),
        ("other shape", left_flat),
    ],
}

RIGHT = {
    "linear_as_1x1_conv": [parameters_made_anew, state_dict_loaded],
    "class_heatmap": [by_conv2d, all_then_one],
    "feature_size": [by_recursion, by_pooling],
    "receptive_field": [field, from_the_top],
    "flatten_fc_as_conv": [by_unflatten, by_loop],
    "shuffle_pixels": [by_gather, by_rows_and_columns],
}
