//! Migration of assigns that another version of the plugin wrote.

use millrace_session::channel::{Assigns, Callback, Completion};

use super::bindings::millrace::plugin::types;
use super::component::Schemas;
use super::fair_queue::WorkKind;
use super::instance::Instance;
use super::owner::CallOwner;
use super::{Component, Fault, FaultKind, Pool, convert};

impl Component {
    /// The schema of the assigns that it reads and writes for a topic; `None` if it works with any.
    fn schema_of(&self, topic: &str) -> Option<u32> {
        match &self.schemas {
            Schemas::Any => None,
            Schemas::One(schema) => Some(*schema),
            Schemas::Each(schemas) => {
                let each = self.topics().iter().zip(schemas);
                let matching = each.filter(|(topics, _)| topics.matches(topic));
                let of = matching.max_by_key(|(topics, _)| topics.specificity());
                of.map(|(_, schema)| *schema)
            }
        }
    }

    /// Whether it can read these assigns as they are.
    pub fn reads(&self, topic: &str, assigns: &Assigns) -> bool {
        assigns.data.is_empty()
            || self.schema_of(topic).is_none_or(|schema| schema == assigns.schema)
    }

    /// Whether assigns have to be migrated before a call. A join gets the assigns of the
    /// connection, which have no schema.
    pub(super) fn has_to_migrate(&self, topic: &str, assigns: &Assigns, call: &Callback) -> bool {
        !matches!(call, Callback::Join { .. }) && !self.reads(topic, assigns)
    }

    /// Gives the assigns of a channel that a join has just accepted the schema of this version.
    pub(super) fn adopt(&self, topic: &str, assigns: &Assigns, completion: &mut Completion) {
        let Completion::Join(answer) = completion else { return };
        let Ok(joined) = &mut **answer else { return };
        if joined.outcome.assigns.is_none()
            && !self.reads(topic, assigns)
            && let Some(schema) = self.schema_of(topic)
        {
            let data = assigns.data.clone();
            joined.outcome.assigns = Some(Assigns { schema, data });
        }
    }
}

impl Pool {
    /// Migrates a copy of assigns to see whether it works.
    ///
    /// # Errors
    ///
    /// The fault of the migration, which is not counted against the plugin.
    pub async fn try_migration(&self, topic: &str, assigns: &Assigns) -> Result<(), Fault> {
        if self.component().reads(topic, assigns) {
            return Ok(());
        }
        let mut timer = self.timer();
        let claim = self.claim(CallOwner::SERVER, WorkKind::Call);
        let mut pooled = self.start(&mut timer, &claim).await?;
        let result = pooled.instance.migrate(topic, assigns).await;
        if result.is_ok() {
            self.give_back(pooled, &CallOwner::SERVER);
        }
        result.map(|_| ())
    }

    /// Runs the plugin's `self-test`; ok if it exports none.
    ///
    /// # Errors
    ///
    /// The fault of the call, or the problem that the test returned.
    pub async fn self_test(&self) -> Result<(), Fault> {
        let mut timer = self.timer();
        let claim = self.claim(CallOwner::SERVER, WorkKind::Call);
        let mut pooled = self.start(&mut timer, &claim).await?;
        pooled.instance.self_test().await?;
        self.give_back(pooled, &CallOwner::SERVER);
        Ok(())
    }
}

impl Instance {
    /// Turns assigns of another schema into this version's; without `migration` they stay as they
    /// are.
    pub(super) async fn migrate(
        &mut self,
        topic: &str,
        assigns: &Assigns,
    ) -> Result<Assigns, Fault> {
        let from = assigns.schema;
        self.refuel(assigns.data.len())?;
        let Some(guest) = &self.migration else { return Ok(assigns.clone()) };
        let handed = types::AssignsParam { schema: from, data: &assigns.data };
        let answer = guest.call_migrate(&mut self.store, topic, handed).await;
        let failed = |message: String, backtrace: String| {
            let message = format!("migrate from schema {from}: {message}");
            Fault { kind: FaultKind::Migration, message, backtrace }
        };
        match self.ended(answer) {
            Ok(Ok(migrated)) => {
                let allowed = self.limits.max_assigns_bytes;
                let migrated = convert::assigns_back(migrated, allowed);
                migrated.map_err(|fault| failed(fault.message, fault.backtrace))
            }
            Ok(Err(message)) => Err(failed(message, String::new())),
            Err(fault) => Err(failed(fault.message, fault.backtrace)),
        }
    }

    async fn self_test(&mut self) -> Result<(), Fault> {
        self.refuel(0)?;
        let Some(guest) = &self.self_test else { return Ok(()) };
        let answer = guest.call_run(&mut self.store).await;
        self.ended(answer)?
            .map_err(|problem| Fault::bad_return(format!("its self-test: {problem}")))
    }
}
