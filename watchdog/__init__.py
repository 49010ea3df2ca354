"""Rollback Watchdog: stands behind every deployment and keeps one hand on the traffic switch.

This page is the architecture. It says how things flow, where they live, and who may know whom.

The flow: one direction
-----------------------

::

    time ───────► scheduler ──► collector ──► Observation ─┐
    operator, CI, webhook ────► requests (stored) ─────────┤
    leadership change ─────────────────────────────────────┼──► inbox ──► REACTOR  evaluate ► step ► guard
    outcome of an effect ──────────────────────────────────┘                 │
                                                                             ▼
                                                  ONE transaction: incident + intents + outbox + audit link
                                                            │                              │
                                              executor ◄────┘                              └────► dispatcher
                                    read ► re-check ► apply(expect) ► read back            send(dedup key)
                                                            └──────── Outcome ──► inbox

    API, commands and self-metrics read the store and write requests; they never reach into the engine

* The reactor is the only writer, and its only I/O is the store. Executor and dispatcher decide nothing
  but "again later" and "give up".
* Write down, then act, then write down what came of it. A switch is "set the weights to B if the state is
  A at revision R", never "undo". Whether a write took effect is read from the switched object, never
  guessed.
* A switch never waits for a message, and a message never waits for a switch.
* Who is told next while nobody acknowledges is decided by the step too, and stored with the incident: a
  ladder outlives a restart. Channels only carry words; what people press or answer comes back as a request.
* After a restart, open intents enter the executor at *read*. How a rollback goes on is one total function
  of the intent on disk and the state just read.
* Rule tests and back-tests drive the same `evaluate` and `step` as the daemon. There is no second
  implementation.
* An observation is a value, *no data* or an *error*. Silence is neither health nor failure, anywhere.

The house: packages, and who may import whom
--------------------------------------------

Each line may import the lines below it, never one above, and packages on one line do not see each other.
import-linter holds this in `make test`::

    cli                           words typed at a terminal, and exit codes
    demo                          a bad deployment, a rollback and a report, self-contained
    app                           the only place that builds things: wiring, start and stop order, reload
    api | engine | lab            HTTP in; the loop; rule tests, back-tests, score cards. They never see each other
    config                        YAML to core values; all errors at once, each with file:line:col
    testing                       fakes for plugin authors, under the same contracts as the real providers
    sources | probes | traffic | channels | store | leader
                                  the outside: `interface.py`, and a file a provider, named after its `kind`
    cluster | postgres | charts   what several share of one outside: the Kubernetes API, a database; pictures
    aio | settings | telemetry    supervised tasks, the clock; base of providers' settings; logs, metrics
    core                          pure decisions: no await, clock, log, random or I/O; `now` is a parameter

`core` takes values and returns values, and each decision returns its reason: audit, API, messages and
logs print that same reason. A state machine is one table in one file, in which every pair of state and
event is listed.

Adding a provider is one file, one test file, one line in the package's `registry.py` and one row in the
documentation. If it needs an edit in `engine`, the interface is wrong.

This module holds the version and must never import anything.
"""

__version__ = "0.1.0"
