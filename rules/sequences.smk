# Which circuit continues a sequence, and how much the circuits of several sequences share.
SEQUENCES = config["sequences"]
# A score is a share of this; of a log-probability, which is never positive, there is none.
METRIC = "logit_difference"
PRUNED_TASKS = sequence_tasks("tasks", "variants", "foreign")
SEQUENCE_DATA = sequence_tasks("tasks", "variants", "foreign", "probes")
READ_TASKS = sequence_tasks("tasks", "probes")
PUBLISHED_SEQUENCES = "<resources>/published/sequence-circuits"
SEQUENCE_EXAMPLES = "<results>/{model}/{task}/examples/sequences0000.parquet"

SEQUENCE_FIGURES = {
    "cross_task": "Circuits on the data of other tasks",
    "overlap": "Overlap of circuits",
    "inclusion": "How often pruning keeps a component",
    "frontier": "Size of circuits against their score",
    "importance": "Importance of components",
    "edge_cuts": "Edges against score",
    "edge_agreement": "Path patching against edge attribution",
    "ov_scores": "Next, copy and previous scores",
    "motifs": "Attention motifs of heads",
    "attention": "Attention of the most important heads",
    "direct": "Direct logit attribution",
    "lens": "Logit lens",
    "lengths": "Behaviour against length",
}

SEQUENCE_TABLES = {
    "cross": ("cross_task.csv", "Circuits on the data of other tasks"),
    "overlap": ("overlap.csv", "Overlap of circuits"),
    "circuits": ("circuits.csv", "Every pruned circuit"),
    "stability": ("stability.csv", "How much circuits depend on order and examples"),
    "inclusion": ("inclusion.csv", ""),
    "frontier": ("frontier.csv", ""),
    "importance": ("importance.csv", "Importance of components"),
    "edges": ("edges.csv", "Edges by path patching"),
    "cuts": ("edge_cuts.csv", ""),
    "functions": ("head_functions.csv", "What every head does"),
    "ov": ("ov_scores.csv", ""),
    "motifs": ("motifs.csv", ""),
    "lens": ("lens.csv", ""),
    "direct": ("direct.csv", ""),
    "neurons": ("neurons.csv", ""),
    "spectrum": ("spectrum.csv", ""),
    "lengths": ("lengths.csv", "Behaviour against length"),
}
# Graphviz may be missing on a laptop: then circuits are drawn in the interactive page only.
WITH_DOT = SEQUENCES["diagrams"]["draw"] == "always" or (
    SEQUENCES["diagrams"]["draw"] == "auto" and shutil.which("dot") is not None
)


# All walks of one task.  Circuits that an earlier run has evaluated are not run again.
rule prune_nodes:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=SEQUENCE_EXAMPLES,
        scores=f"<results>/{{model}}/{{task}}/scores/{SEQUENCES['pruning']['method']}/sequences0000.parquet",
        files=[entry["file"] for entry in circuit_files().values()],
    output:
        evaluated=update("<results>/{model}/sequences/{task}/evaluated.parquet"),
        pruned="<results>/{model}/sequences/{task}/pruned.parquet",
        steps="<results>/{model}/sequences/{task}/steps.parquet",
        inclusion="<results>/{model}/sequences/{task}/inclusion.parquet",
        frontier="<results>/{model}/sequences/{task}/frontier.parquet",
    log:
        "<logs>/prune_nodes/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(PRUNED_TASKS),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            metric=METRIC,
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            bootstrap=config["tests"]["bootstrap"],
            replacement=SEQUENCES["replacement"],
            circuits=circuit_files(wildcards.model),
            **pruning_cfg(wildcards.task),
        ),
        code=code_hash("prune_nodes.py"),
        rows_code=code_hash("circuit_reuse/sequences/keeping.py"),
        compute=compute,
    script:
        "../workflow/scripts/prune_nodes.py"


rule name_circuits:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        pruned=expand("<results>/{{model}}/sequences/{task}/pruned.parquet", task=PRUNED_TASKS),
        files=[entry["file"] for entry in circuit_files().values()],
    output:
        circuits="<results>/{model}/sequences/circuits.parquet",
        overlap="<results>/{model}/sequences/overlap.parquet",
    log:
        "<logs>/name_circuits/{model}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            of=PRUNED_TASKS,
            tasks=SEQUENCES["tasks"],
            strategy=SEQUENCES["pruning"]["strategy"],
            threshold=SEQUENCES["pruning"]["threshold"],
            random_sets=SEQUENCES["random_sets"],
            circuits=circuit_files(wildcards.model),
        ),
        code=code_hash("name_circuits.py"),
    script:
        "../workflow/scripts/name_circuits.py"


rule cross_sequences:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=SEQUENCE_EXAMPLES,
        circuits="<results>/{model}/sequences/circuits.parquet",
    output:
        effects=update("<results>/{model}/sequences/{task}/effects.parquet"),
    log:
        "<logs>/cross_sequences/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(SEQUENCE_DATA),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            kinds=["head", "mlp"],
            replacement=SEQUENCES["replacement"],
            metric=METRIC,
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            accuracy=task_cfg(wildcards.task)["accuracy"],
        ),
        code=code_hash("cross_sequences.py"),
        rows_code=code_hash("circuit_reuse/effects.py"),
        compute=compute,
    script:
        "../workflow/scripts/cross_sequences.py"


rule patch_edges:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=SEQUENCE_EXAMPLES,
        circuits="<results>/{model}/sequences/circuits.parquet",
    output:
        paths="<results>/{model}/sequences/{task}/paths.parquet",
    log:
        "<logs>/patch_edges/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(SEQUENCES["edges"]["tasks"]) or "none",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            metric=METRIC,
            steps=config["attribution"]["steps"],
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            replacement=SEQUENCES["replacement"],
            examples=SEQUENCES["edges"]["examples"],
        ),
        code=code_hash("patch_edges.py"),
        compute=compute,
    script:
        "../workflow/scripts/patch_edges.py"


# What another cut changes: no path is patched again.
rule cut_edges:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=SEQUENCE_EXAMPLES,
        paths="<results>/{model}/sequences/{task}/paths.parquet",
    output:
        edges="<results>/{model}/sequences/{task}/edges.parquet",
        cuts="<results>/{model}/sequences/{task}/cuts.parquet",
    log:
        "<logs>/cut_edges/{model}/{task}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            "seed",
            metric=METRIC,
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            bootstrap=config["tests"]["bootstrap"],
            replacement=SEQUENCES["replacement"],
            **{key: SEQUENCES["edges"][key] for key in ("rule", "value", "quantiles")},
        ),
        code=code_hash("cut_edges.py"),
        compute=compute,
    script:
        "../workflow/scripts/cut_edges.py"


rule read_heads:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=SEQUENCE_EXAMPLES,
    output:
        **{
            name: f"<results>/{{model}}/sequences/{{task}}/{name}.parquet"
            for name in ("ov", "attention", "motifs", "lens", "direct", "neurons")
        },
    log:
        "<logs>/read_heads/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(READ_TASKS),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            metric=METRIC,
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            replacement=SEQUENCES["replacement"],
            top=SEQUENCES["functions"]["top"],
            **task_cfg(wildcards.task, "family", "options", "bos"),
        ),
        code=code_hash("read_heads.py"),
        compute=compute,
    script:
        "../workflow/scripts/read_heads.py"


rule describe_heads:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
    output:
        motifs="<results>/{model}/sequences/motifs.parquet",
        spectrum="<results>/{model}/sequences/spectrum.parquet",
    log:
        "<logs>/describe_heads/{model}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            "seed",
            dtype=config["compute"]["dtype"],
            members=sequence_members(SEQUENCES["tasks"]),
        ),
        code=code_hash("describe_heads.py"),
        compute=compute,
    script:
        "../workflow/scripts/describe_heads.py"


rule measure_lengths:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
    output:
        lengths="<results>/{model}/sequences/lengths.parquet",
    log:
        "<logs>/measure_lengths/{model}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            "seed",
            dtype=config["compute"]["dtype"],
            lengths=SEQUENCES["lengths"]["values"],
            count=SEQUENCES["lengths"]["examples"],
            tasks={
                task: task_cfg(task, "family", "options", "bos", "shots")
                for task in sequence_tasks("tasks", "variants")
                if task in SEQUENCES["tasks"]
                or (task_cfg(task)["family"] == "sequence" and "length" not in task_cfg(task)["options"])
            },
        ),
        code=code_hash("measure_lengths.py"),
        compute=compute,
    script:
        "../workflow/scripts/measure_lengths.py"


rule summarise_sequences:
    input:
        **{
            name: sequence_models(
                f"<results>/{{model}}/sequences/{{task}}/{name}.parquet",
                task=READ_TASKS,
            )
            for name in ("ov", "motifs", "lens", "direct", "neurons")
        },
        about=sequence_models("<results>/{model}/model.json"),
        circuits=sequence_models("<results>/{model}/sequences/circuits.parquet"),
        overlap=sequence_models("<results>/{model}/sequences/overlap.parquet"),
        pruned=sequence_models("<results>/{model}/sequences/{task}/pruned.parquet", task=PRUNED_TASKS),
        steps=sequence_models("<results>/{model}/sequences/{task}/steps.parquet", task=PRUNED_TASKS),
        inclusion=sequence_models("<results>/{model}/sequences/{task}/inclusion.parquet", task=PRUNED_TASKS),
        frontier=sequence_models("<results>/{model}/sequences/{task}/frontier.parquet", task=PRUNED_TASKS),
        effects=sequence_models("<results>/{model}/sequences/{task}/effects.parquet", task=SEQUENCE_DATA),
        edges=sequence_models(
            "<results>/{model}/sequences/{task}/edges.parquet",
            task=SEQUENCES["edges"]["tasks"],
        ),
        cuts=sequence_models(
            "<results>/{model}/sequences/{task}/cuts.parquet",
            task=SEQUENCES["edges"]["tasks"],
        ),
        random_motifs=sequence_models("<results>/{model}/sequences/motifs.parquet"),
        spectrum=sequence_models("<results>/{model}/sequences/spectrum.parquet"),
        lengths=sequence_models("<results>/{model}/sequences/lengths.parquet"),
    output:
        **{name: sequence_table(*about) for name, about in SEQUENCE_TABLES.items()},
        findings="<results>/tables/sequences/findings.md",
        page=shown(
            "<results>/tables/sequences/findings.html",
            "sequences_findings",
            "Sequences",
            shows="Findings, in words",
        ),
    log:
        "<logs>/summarise_sequences.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            bootstrap=config["tests"]["bootstrap"],
            alpha=config["tests"]["alpha"],
            models=SEQUENCES["models"],
            tasks=SEQUENCES["tasks"],
            variants=SEQUENCES["variants"],
            foreign=SEQUENCES["foreign"],
            probes=SEQUENCES["probes"],
            titles={task: task_title(task) for task in SEQUENCE_DATA},
            motif=SEQUENCES["functions"]["motif"],
            **{key: SEQUENCES["pruning"][key] for key in ("strategy", "threshold", "frequency", "two_sided")},
        ),
        code=code_hash("summarise_sequences.py"),
    script:
        "../workflow/scripts/summarise_sequences.py"


rule draw_sequences:
    input:
        tables=[f"<results>/tables/sequences/{file}" for file, _ in SEQUENCE_TABLES.values()],
        attention=sequence_models("<results>/{model}/sequences/{task}/attention.parquet", task=READ_TASKS),
    output:
        figures=[
            shown(
                f"<results>/figures/sequences/{name}.{kind}",
                f"sequences_{name}",
                "Sequences",
                shows=title,
            )
            for name, title in SEQUENCE_FIGURES.items()
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/draw_sequences.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 2
    params:
        cfg=stage_cfg(
            "figures",
            alpha=config["tests"]["alpha"],
            models=SEQUENCES["models"],
            tasks=SEQUENCES["tasks"],
            variants=SEQUENCES["variants"],
            foreign=SEQUENCES["foreign"],
            probes=SEQUENCES["probes"],
            titles={task: task_title(task) for task in SEQUENCE_DATA},
            threshold=SEQUENCES["pruning"]["threshold"],
            shown=SEQUENCES["functions"]["shown"],
            top=SEQUENCES["functions"]["top"],
            colours=SEQUENCES["diagrams"]["colours"],
        ),
        code=code_hash("draw_sequences.py"),
    script:
        "../workflow/scripts/draw_sequences.py"


# Diagrams by Graphviz, and one page in which one can look at every node.
rule draw_circuits:
    input:
        about="<results>/{model}/model.json",
        edges=expand(
            "<results>/{{model}}/sequences/{task}/edges.parquet",
            task=SEQUENCES["edges"]["tasks"],
        ),
        cuts=expand(
            "<results>/{{model}}/sequences/{task}/cuts.parquet",
            task=SEQUENCES["edges"]["tasks"],
        ),
        circuits="<results>/{model}/sequences/circuits.parquet",
        attention=expand("<results>/{{model}}/sequences/{task}/attention.parquet", task=READ_TASKS),
        tables=[
            f"<results>/tables/sequences/{SEQUENCE_TABLES[name][0]}"
            for name in ("functions", "importance", "neurons", "spectrum")
        ],
    output:
        page=shown(
            "<results>/figures/sequences/{model}/circuits.html",
            "sequences_page",
            "Sequences",
            shows="Circuits, interactive",
            model="{model}",
        ),
        diagrams=[
            shown(
                f"<results>/figures/sequences/{{model}}/{name}.{kind}",
                "sequences_diagram",
                "Sequences",
                shows=f"Circuit: {name}",
                model="{model}",
            )
            for name in [*SEQUENCES["edges"]["tasks"], "shared"]
            for kind in ("svg", "pdf")
            if WITH_DOT and SEQUENCES["edges"]["tasks"]
        ],
    log:
        "<logs>/draw_circuits/{model}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            of=SEQUENCES["edges"]["tasks"],
            read=READ_TASKS,
            titles={task: task_title(task) for task in SEQUENCE_DATA},
            **{key: SEQUENCES["diagrams"][key] for key in ("edges", "colours")},
        ),
        # No input: its path leads out of a run's folder, and a project that is moved would be stale.
        template=text_hash("report/circuits.html"),
        code=code_hash("draw_circuits.py"),
    script:
        "../workflow/scripts/draw_circuits.py"


# The published circuits and numbers: what follows from the lists of nodes, and from a run if there is one.
rule check_published_sequences:
    input:
        circuits=f"{PUBLISHED_SEQUENCES}/circuits.json",
        numbers=f"{PUBLISHED_SEQUENCES}/numbers.json",
        tables=(
            [f"<results>/tables/sequences/{SEQUENCE_TABLES[name][0]}" for name in ("cross", "importance", "ov")]
            if any(
                Path(entry["file"]).parts[-2:] == ("sequence-circuits", "circuits.json")
                for entry in circuit_files().values()
            )
            else []
        ),
    output:
        check=shown(
            "<results>/tables/sequences/published_check.csv",
            "sequences_published",
            "Sequences",
            shows="Published numbers (table)",
        ),
    log:
        "<logs>/check_published_sequences.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_hash("check_published_sequences.py"),
    script:
        "../workflow/scripts/check_published_sequences.py"


rule sequences:
    input:
        rules.summarise_sequences.output,
        "<results>/tables/sequences/overview.json",
        rules.draw_sequences.output,
        expand(rules.draw_circuits.output, model=SEQUENCES["models"]),
        rules.check_published_sequences.output,


# explain.py asks what pruning costs: it is most of the study on a model of hundreds of components.
if "CIRCUIT_REUSE_EXPLAIN" in os.environ:
    for pruned_model in SEQUENCES["models"]:
        logger.info(pruning_cost(pruned_model))
