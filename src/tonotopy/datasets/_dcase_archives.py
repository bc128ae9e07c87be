"""Where the archives of DCASE Task 2 are, with the checksums that Zenodo states."""

from __future__ import annotations

from tonotopy.datasets.download import Archive

_PARTS = {"3678171": "dev_data", "3727685": "eval_data", "3841772": "eval_data"}
_PARTS |= {"7882613": "dev_data", "7830345": "eval_data", "7860847": "eval_data"}

_MD5 = {
    "dcase2020-task2": {
        "3678171/dev_data_ToyCar": "4dec75ca8d9f666aa9e4c1894a740501",
        "3678171/dev_data_ToyConveyor": "03b6aa1bfd09a39d53af0ba39f71fa91",
        "3678171/dev_data_fan": "649bdfc06263ae7a838963f43b6641e6",
        "3678171/dev_data_pump": "90e7091ef722b7238a7f1009365779cd",
        "3678171/dev_data_slider": "da24a757719f0d94d5aa2d646bbfdc86",
        "3678171/dev_data_valve": "34d2672f55bb041589ef79c10dc89934",
        "3727685/eval_data_train_ToyCar": "a5d4ccd498af70b04dd74b644b820006",
        "3727685/eval_data_train_ToyConveyor": "0e808ac0b761e9fb13d5e0c65caff00d",
        "3727685/eval_data_train_fan": "567798854130c8019df8b664c095ed1e",
        "3727685/eval_data_train_pump": "4e33ae9c0db5cc88437675f5e317caee",
        "3727685/eval_data_train_slider": "f84f186f4295fc23754abcdd1b0580a7",
        "3727685/eval_data_train_valve": "057cdd560caffb8305449541afd28c6d",
        "3841772/eval_data_test_ToyCar": "bea2bdd612f616be8f2b8eb087b32c7c",
        "3841772/eval_data_test_ToyConveyor": "ccfcc9847c7d3404d7ee9d6d9e0b2ba2",
        "3841772/eval_data_test_fan": "1eb9356a768cadfd0f2e59a5c57e578b",
        "3841772/eval_data_test_pump": "23a8f8f924be218c69df67fe07360348",
        "3841772/eval_data_test_slider": "0193c769073840332ce3aad84b1ccaa2",
        "3841772/eval_data_test_valve": "f69c551d2088691050d20cccca9d631c",
    },
    "dcase2023-task2": {
        "7882613/dev_ToyCar": "4e3bf15f4101ed4ed4f1fecde2e2b2a3",
        "7882613/dev_ToyTrain": "6b02a6c65eebb3b8b1ae59a6b25bb897",
        "7882613/dev_bearing": "8a813bc8d8f156b5395bfccdfac7673c",
        "7882613/dev_fan": "9348591e96fb0ad499a1e33b082562fc",
        "7882613/dev_gearbox": "b6e55f6a31faa0fc8569ec0afdd53ccf",
        "7882613/dev_slider": "b3f8dee36b4718c36d659a4fd1c4afe0",
        "7882613/dev_valve": "b2051a2022eadb53cd97581120811cae",
        "7830345/eval_data_ToyDrone_train": "7fea367d1384a1521ae24f72203238de",
        "7830345/eval_data_ToyNscale_train": "9332822f3e47afd984c01f2ecb5ca3af",
        "7830345/eval_data_ToyTank_train": "b1fd3ab7de7561290df2d477de1c9d33",
        "7830345/eval_data_Vacuum_train": "1c8de33d9a8c7850a1f7aaddb97d87be",
        "7830345/eval_data_bandsaw_train": "9274dfe63de028743823f1123f8b4b47",
        "7830345/eval_data_grinder_train": "17569c1f9df23621a0dbabc430684a35",
        "7830345/eval_data_shaker_train": "35f821b5645b731fb5a1750e33b95fc3",
        "7860847/eval_data_ToyDrone_test": "fdae7b8d1f4cadb2bea88bc93e2367db",
        "7860847/eval_data_ToyNscale_test": "62f5f5043d8fb3a305b1c2e1025872de",
        "7860847/eval_data_ToyTank_test": "f5639bf58c47169c622751f19c6fc321",
        "7860847/eval_data_Vacuum_test": "a32524fd8c45b574a560685b38acc4e1",
        "7860847/eval_data_bandsaw_test": "2a8e8f39f6584ab366a8f4da52d4d7a6",
        "7860847/eval_data_grinder_test": "631b3e1608b6077772829a6e68c82c77",
        "7860847/eval_data_shaker_test": "ba98c98caa96051ec80e24e44b8fca56",
    },
}
"""Record and file to MD5, as the loaders of soundata state them for these records."""


def archives_of(name: str) -> tuple[Archive, ...]:
    """Give the archives of an edition, each to be unpacked into `dev_data` or `eval_data`."""
    return tuple(
        Archive(
            f"https://zenodo.org/records/{record}/files/{file}.zip",
            name,
            md5=md5,
            bare=True,
            into=_PARTS[record],
        )
        for (record, file), md5 in ((key.split("/"), md5) for key, md5 in _MD5[name].items())
    )
