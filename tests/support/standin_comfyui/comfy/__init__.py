"""A stand-in for what VisuNex's nodes touch of ComfyUI, written from its protocol (0.3.64, October 2025).

Names, arguments and what each does are those of comfy/{sd,sd1_clip,sdxl_clip,clip_model,ops,clip_vision,
model_management,utils}.py and folder_paths.py of github.com/Comfy-Org/ComfyUI; the code is not. It keeps
what is awkward there: layers that add in place, weights that functions change as they are used, inference
tensors, patches that are written into one model shared by all clones of a CLIP, projections left as memory
was.
"""
