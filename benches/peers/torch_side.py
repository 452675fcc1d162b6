"""The published packages' side: PyTorch, torch.compile, ONNX Runtime and Python Optimal Transport."""

import time

import numpy as np
import onnxruntime
import ot
import torch
import torch._inductor.config
from mobile_sam import SamPredictor, sam_model_registry
from torch.utils.flop_counter import FlopCounterMode


def timed(call):
    """A function that returns the milliseconds a call takes."""

    def run(*arguments):
        start = time.perf_counter()
        call(*arguments)
        return (time.perf_counter() - start) * 1e3

    return run


def load(kind, weights):
    """A predictor with the weights of a file."""
    model = sam_model_registry[kind]()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return SamPredictor(model.eval())


def random_weights(kind, path):
    """Saves a model without a single zero tensor, so that every term of it is compared."""
    torch.manual_seed(0)
    model = sam_model_registry[kind]()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    torch.save(model.state_dict(), path)


def prepared(predictor, picture):
    """A picture (uint8 HxWx3) as the encoder takes it: scaled, normalised, padded, 1x3xHxW."""
    scaled = torch.as_tensor(predictor.transform.apply_image(picture))
    return predictor.model.preprocess(scaled.permute(2, 0, 1)[None].contiguous())


def flops(encoder, pixels):
    """Floating point operations of an encoder, a multiplication and an addition counted as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(pixels)
    return counter.get_total_flops()


def encoders(encoder, pixels, wanted, folder, threads):
    """By name, functions from pixels to features (both tensors or arrays that share memory)."""
    found = {}
    if "eager" in wanted:
        found["PyTorch eager"] = encoder
    if "onnx" in wanted:
        file = folder / "encoder.onnx"
        torch.onnx.export(encoder, (pixels,), file, input_names=["pixels"], dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Its threads wait actively while it runs, and leave the processor to others afterwards.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        found["ONNX Runtime"] = lambda x: torch.from_numpy(session.run(None, {"pixels": x.numpy()})[0])
    if "compile" in wanted:
        # Constants folded: what PyTorch's own guide advises for inference on a processor.
        torch._inductor.config.freezing = True
        found["torch.compile"] = torch.compile(encoder)
    return {name: torch.no_grad()(run) for name, run in found.items()}


@torch.no_grad()
def decode(predictor, points, labels, mask=None, box=None):
    """One pass of prompt encoder and mask decoder: logits, 1x1x256x256. Coordinates are the picture's."""
    model, size = predictor.model, predictor.original_size
    places = torch.as_tensor(predictor.transform.apply_coords(np.array(points), size)).float()[None]
    if box is not None:
        box = torch.as_tensor(predictor.transform.apply_boxes(np.array(box)[None], size)).float()
    sparse, dense = model.prompt_encoder(
        points=(places, torch.as_tensor(labels)[None]), boxes=box, masks=mask)
    logits, _ = model.mask_decoder(
        image_embeddings=predictor.features, image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False)
    return logits


def cascades(predictor, candidates):
    """Three passes for every (points, labels): points; and mask; and box of the mask.

    Unlike `SamPredictor.predict`, which the published code calls, this brings only the second mask of
    each candidate to the picture's size, as its box needs.
    """
    for points, labels in candidates:
        mask = decode(predictor, points, labels)
        mask = decode(predictor, points, labels, mask)
        whole = predictor.model.postprocess_masks(mask, predictor.input_size, predictor.original_size)
        y, x = np.nonzero(whole[0, 0].numpy() > 0)
        box = [x.min(), y.min(), x.max(), y.max()] if len(x) else None
        decode(predictor, points, labels, mask, box)


def distances(reference, pool, candidates):
    """Exact earth mover's distance of every candidate (numbers of the pool's vectors)."""
    reference, pool = reference.astype(np.float64), pool.astype(np.float64)
    costs = (ot.dist(reference, pool[rows], metric="sqeuclidean") for rows in candidates)
    return [float(ot.emd2([], [], cost, numItermax=10_000_000)) for cost in costs]
