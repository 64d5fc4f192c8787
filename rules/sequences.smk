# Which circuit continues a sequence, and how much the circuits of several sequences share.
SEQUENCES = config["sequences"]
# A score is a share of its metric; of a log-probability, which is never positive, there is none.
SEQUENCE_RUN = shard_run("sequences") | USED | some(SEQUENCES, "replacement")
PRUNED_TASKS = sequence_tasks("tasks", "variants", "control_tasks")
SEQUENCE_DATA = sequence_tasks("tasks", "variants", "control_tasks", "probes")
READ_TASKS = sequence_tasks("tasks", "probes")
EDGE_TASKS = SEQUENCES["edges"]["tasks"]
PUBLISHED_SEQUENCES = f"{shipped('published')}/sequence-circuits"
SEQUENCE_EXAMPLES = "<results>/{model}/{task}/examples/sequences0000.parquet"
NAMED = "<results>/{model}/sequences"
SEQUENCE = f"{NAMED}/{{task}}"
PRUNED = ("pruned", "steps", "inclusion", "pareto_front")
READ = ("ov", "motifs", "lens", "direct", "neurons", "neuron_inputs")
# Graphviz may be missing on a laptop: then circuits are drawn in the interactive page only.
WITH_DOT = SEQUENCES["diagrams"]["draw"] == "always" or (
    SEQUENCES["diagrams"]["draw"] == "auto" and shutil.which("dot") is not None
)
SEQUENCE_SHOWN = {
    **ALPHA,
    **some(SEQUENCES, "models", "tasks", "variants", "control_tasks", "probes"),
    "titles": titles(SEQUENCE_DATA),
}


# All pruning runs of one task.  Circuits that an earlier run has evaluated are not run again.
use rule runs_model as prune_nodes with:
    input:
        **MODEL,
        examples=SEQUENCE_EXAMPLES,
        scores=f"<results>/{{model}}/{{task}}/scores/{SEQUENCES['pruning']['method']}/sequences0000.parquet",
        files=circuit_paths,
    output:
        **{name: f"{SEQUENCE}/{name}.parquet" for name in PRUNED},
        evaluated=update(f"{SEQUENCE}/evaluated.parquet"),
    log:
        "<logs>/prune_nodes/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(PRUNED_TASKS),
    params:
        **runs("studies.sequences.stage_prune.prune_task"),
        content=holds(circuit_paths),
        rows_code=code_of("studies.sequences.evaluator"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            circuits=circuit_files(wildcards.model),
            **SEQUENCE_RUN,
            **BOOTSTRAP,
            **pruning_cfg(wildcards.task),
        ),


use rule reads_tables as name_circuits with:
    input:
        **MODEL,
        pruned=expand("<results>/{{model}}/sequences/{task}/pruned.parquet", task=PRUNED_TASKS),
        files=circuit_paths,
    output:
        circuits=f"{NAMED}/circuits.parquet",
        overlap=f"{NAMED}/overlap.parquet",
    log:
        "<logs>/name_circuits/{model}.log",
    params:
        **runs("studies.sequences.stage_names.name_circuits"),
        content=holds(circuit_paths),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            of=PRUNED_TASKS,
            circuits=circuit_files(wildcards.model),
            **some(SEQUENCES, "tasks", "random_sets"),
            **some(SEQUENCES["pruning"], "strategy", "threshold"),
        ),


use rule runs_model as cross_sequences with:
    input:
        **MODEL,
        examples=SEQUENCE_EXAMPLES,
        circuits=f"{NAMED}/circuits.parquet",
    output:
        effects=update(f"{SEQUENCE}/effects.parquet"),
    log:
        "<logs>/cross_sequences/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(SEQUENCE_DATA),
    params:
        **runs("studies.sequences.stage_cross_tasks.cross_task"),
        rows_code=code_of("engine.effects"),
        cfg=lambda wildcards: stage_cfg(
            "seed", kinds=["head", "mlp"], **SEQUENCE_RUN, **task_cfg(wildcards.task, "accuracy")
        ),


# Of the task's own circuit, whatever other tasks have; if that is still the same, nothing is patched again.
use rule runs_model as patch_edges with:
    input:
        **MODEL,
        examples=SEQUENCE_EXAMPLES,
        pruned=f"{SEQUENCE}/pruned.parquet",
    output:
        paths=update(f"{SEQUENCE}/paths.parquet"),
    log:
        "<logs>/patch_edges/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(EDGE_TASKS) or "none",
    params:
        **runs("studies.sequences.stage_edges.patch_edges"),
        rows_code=code_of("studies.sequences.path_patching", "studies.sequences.stage_edges"),
        cfg=stage_cfg(
            **SEQUENCE_RUN,
            **some(config["attribution"], "steps"),
            **some(SEQUENCES["edges"], "examples"),
            **some(SEQUENCES["pruning"], "strategy", "threshold"),
        ),


# What another cut changes: no path is patched again.  ACDC alone needs to know on how many examples.
EDGE_CUTS = ["rule", "value", "quantiles", "acdc"]
if SEQUENCES["edges"]["acdc"] or SEQUENCES["edges"]["rule"] == "acdc":
    EDGE_CUTS.append("examples")


use rule runs_model as cut_edges with:
    input:
        **MODEL,
        examples=SEQUENCE_EXAMPLES,
        paths=f"{SEQUENCE}/paths.parquet",
    output:
        edges=f"{SEQUENCE}/edges.parquet",
        cuts=f"{SEQUENCE}/cuts.parquet",
    log:
        "<logs>/cut_edges/{model}/{task}.log",
    params:
        **runs("studies.sequences.stage_edges.cut_edges"),
        cfg=stage_cfg("seed", **SEQUENCE_RUN, **BOOTSTRAP, **some(SEQUENCES["edges"], *EDGE_CUTS)),


use rule runs_model as read_heads with:
    input:
        **MODEL,
        examples=SEQUENCE_EXAMPLES,
    output:
        **{name: f"{SEQUENCE}/{name}.parquet" for name in READ},
        attention=f"{SEQUENCE}/attention.parquet",
    log:
        "<logs>/read_heads/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(READ_TASKS),
    params:
        **runs("studies.sequences.stage_heads.read_heads"),
        cfg=lambda wildcards: stage_cfg(
            **SEQUENCE_RUN,
            **some(SEQUENCES["functions"], "top"),
            **task_cfg(wildcards.task, "family", "options", "bos"),
        ),


use rule runs_model as describe_heads with:
    input:
        **MODEL,
    output:
        motifs=f"{NAMED}/motifs.parquet",
        spectrum=f"{NAMED}/spectrum.parquet",
    log:
        "<logs>/describe_heads/{model}.log",
    params:
        **runs("studies.sequences.stage_heads.describe_heads"),
        cfg=stage_cfg("seed", **some(config["compute"], "dtype"), members=sequence_members(SEQUENCES["tasks"])),


# Sequences that are shown in several lengths.
LENGTH_TASKS = {
    task: task_cfg(task, "family", "options", "bos", "shots", "chat")
    for task in sequence_tasks("tasks", "variants")
    if task in SEQUENCES["tasks"]
    or (task_cfg(task)["family"] == "sequence" and "length" not in task_cfg(task)["options"])
}


use rule runs_model as measure_lengths with:
    input:
        **MODEL,
    output:
        lengths=f"{NAMED}/lengths.parquet",
    log:
        "<logs>/measure_lengths/{model}.log",
    params:
        **runs(
            "studies.sequences.stage_lengths.measure",
            *sorted({f"prompts.{each['family']}" for each in LENGTH_TASKS.values()}),
        ),
        cfg=stage_cfg(
            "seed",
            **some(config["compute"], "dtype"),
            lengths=SEQUENCES["lengths"]["values"],
            count=SEQUENCES["lengths"]["examples"],
            tasks=LENGTH_TASKS,
        ),


use rule reads_tables as summarise_sequences with:
    input:
        **{name: of_study("sequences", f"{SEQUENCE}/{name}.parquet", task=READ_TASKS) for name in READ},
        **{name: of_study("sequences", f"{SEQUENCE}/{name}.parquet", task=PRUNED_TASKS) for name in PRUNED},
        **{
            f"some_{name}": of_study("sequences", f"{SEQUENCE}/{name}.parquet", task=EDGE_TASKS)
            for name in ("edges", "cuts")
        },
        **{
            name: of_study("sequences", f"{NAMED}/{name}.parquet")
            for name in ("circuits", "overlap", "spectrum", "lengths")
        },
        about=of_study("sequences", ABOUT),
        effects=of_study("sequences", f"{SEQUENCE}/effects.parquet", task=SEQUENCE_DATA),
        random_motifs=of_study("sequences", f"{NAMED}/motifs.parquet"),
    output:
        **study_tables("sequences"),
        details=findings_details("sequences"),
    log:
        "<logs>/summarise_sequences.log",
    params:
        **runs("studies.sequences.summary.summarise"),
        cfg=stage_cfg(
            "seed",
            **SEQUENCE_SHOWN,
            **some(config["tests"], "permutations", "bootstrap"),
            **some(SEQUENCES["functions"], "motif"),
            **some(SEQUENCES["pruning"], "strategy", "threshold", "frequency", "two_sided"),
        ),


use rule draws_figures as draw_sequences with:
    input:
        tables=[table("sequences", name) for name in STUDIES["sequences"].tables],
        attention=of_study("sequences", f"{SEQUENCE}/attention.parquet", task=READ_TASKS),
    output:
        figures=figures("sequences"),
    log:
        "<logs>/draw_sequences.log",
    params:
        **runs("studies.sequences.figures.draw"),
        cfg=stage_cfg(
            "figures",
            **SEQUENCE_SHOWN,
            **some(SEQUENCES["pruning"], "threshold"),
            **some(SEQUENCES["functions"], "shown", "top"),
            **some(SEQUENCES["diagrams"], "colours"),
        ),


# Diagrams by Graphviz, and one page in which one can look at every node.
use rule reads_tables as draw_circuits with:
    input:
        about=ABOUT,
        some_edges=expand("<results>/{{model}}/sequences/{task}/edges.parquet", task=EDGE_TASKS),
        some_cuts=expand("<results>/{{model}}/sequences/{task}/cuts.parquet", task=EDGE_TASKS),
        circuits=f"{NAMED}/circuits.parquet",
        attention=expand("<results>/{{model}}/sequences/{task}/attention.parquet", task=READ_TASKS),
        tables=[table("sequences", name) for name in ("functions", "importance", "neurons", "spectrum")],
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
            for name in [*EDGE_TASKS, "shared"]
            for kind in ("svg", "pdf")
            if WITH_DOT and EDGE_TASKS
        ],
    log:
        "<logs>/draw_circuits/{model}.log",
    params:
        **runs("studies.sequences.circuit_page.draw"),
        # No input: its path is outside a run's folder, and a project that is moved would be stale.
        template=text_hash("report/circuits.html"),
        cfg=stage_cfg(
            of=EDGE_TASKS,
            read=READ_TASKS,
            titles=titles(SEQUENCE_DATA),
            **some(SEQUENCES["diagrams"], "edges", "colours"),
        ),


# The published circuits and numbers: what follows from the lists of nodes, and from a run if there is one.
use rule reads_tables as check_published_sequences with:
    input:
        circuits=f"{PUBLISHED_SEQUENCES}/circuits.json",
        numbers=f"{PUBLISHED_SEQUENCES}/numbers.json",
        tables=(
            [table("sequences", name) for name in ("cross", "importance", "ov")]
            if any(
                Path(entry["file"]).parts[-2:] == ("sequence-circuits", "circuits.json")
                for entry in SEQUENCES["circuits"].values()
            )
            else []
        ),
    output:
        check=published_table("sequences"),
    log:
        "<logs>/check_published_sequences.log",
    params:
        **runs("studies.sequences.published_check.run"),


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
