rule score_examples:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples="<results>/{model}/{task}/examples/{shard}.parquet",
    output:
        scores=ensure("<results>/{model}/{task}/scores/{method}/{shard}.parquet", non_empty=True),
    log:
        "<logs>/score_examples/{model}/{task}/{method}/{shard}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            **({"steps": config["attribution"]["steps"]} if wildcards.method in ("ig", "eap-ig") else {}),
        ),
        code=code_hash("score_examples.py"),
        compute=compute,
    script:
        "../workflow/scripts/score_examples.py"


# Exact patching of a few examples, for the agreement of methods: a forward pass for every component.
rule patch_examples:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples="<results>/{model}/{task}/examples/0000.parquet",
    output:
        exact="<results>/{model}/{task}/exact.parquet",
    log:
        "<logs>/patch_examples/{model}/{task}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            examples=config["agreement"]["examples"],
        ),
        code=code_hash("patch_examples.py"),
        compute=compute,
    script:
        "../workflow/scripts/patch_examples.py"


# How far a method's ranking is that of exact patching, example by example.
rule compare_methods:
    input:
        scores=expand(
            "<results>/{{model}}/{task}/scores/{{method}}/0000.parquet",
            task=config["tasks"],
        ),
        exact=expand("<results>/{{model}}/{task}/exact.parquet", task=config["tasks"]),
    output:
        agreement="<results>/{model}/agreement/{method}.parquet",
    log:
        "<logs>/compare_methods/{model}/{method}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "tasks",
            kinds=config["circuits"]["kinds"],
            top_k=config["circuits"]["top_k"][0],
        ),
        code=code_hash("compare_methods.py"),
    script:
        "../workflow/scripts/compare_methods.py"
