//! Budgets of connects and joins are spent by what can succeed.
