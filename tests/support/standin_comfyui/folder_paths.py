"""Where ComfyUI keeps models and writes: names of files below folders that any node may add."""

import os
from pathlib import Path

models_dir = "models"
output_directory = "output"
folders: dict[str, list[str]] = {}


def add_model_folder_path(folder_name: str, full_folder_path: str, is_default: bool = False) -> None:
    folders.setdefault(folder_name, []).append(full_folder_path)


def get_filename_list(folder_name: str) -> list[str]:
    found = [Path(folder) for folder in folders[folder_name]]
    return sorted(str(file.relative_to(each)) for each in found for file in each.rglob("*") if file.is_file())


def get_full_path(folder_name: str, filename: str) -> str | None:
    places = (Path(folder, filename) for folder in folders[folder_name])
    return next((str(place) for place in places if place.is_file()), None)


def get_output_directory() -> str:
    return output_directory


def get_save_image_path(filename_prefix: str, output_dir: str) -> tuple[str, str, int, str, str]:
    beside, stem = os.path.split(os.path.normpath(filename_prefix))
    folder = os.path.join(output_dir, beside)
    if os.path.commonpath((output_dir, os.path.abspath(folder))) != output_dir:
        raise Exception("Saving image outside the output folder is not allowed.")
    os.makedirs(folder, exist_ok=True)
    used = [name.removeprefix(f"{stem}_")[:5] for name in os.listdir(folder) if name.startswith(f"{stem}_")]
    return folder, stem, 1 + max(map(int, used), default=0), beside, filename_prefix
