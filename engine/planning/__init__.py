"""Config, state and live resources to a plan. Pure: nothing here asks a store or a provider.

Terms: a *change* is what a plan does with one tool, with its action and its reason. *Drift* is a
difference made outside dtm. A *subject* is what state and provider say of one tool.

Invariants: the same inputs give the same plan. A plan takes linear time in tools and edges. With
real values a planned change may only get milder.

`decisions` holds the rows of the planner's table: which action follows from config, entry and live
resource, and so where a changed option replaces a tool.

    plan = make_plan(config, state, live, operations)
"""
