"""The model: backbones, token selections, heads, variants, weights.

Import from the submodules: `variants.build_model`, `checkpoint.load_checkpoint`,
`pretrained.load_pretrained`, `postprocess.PostProcess`, `complexity.count`. This package itself
imports nothing, so that `import edge` stays free of torch.
"""
