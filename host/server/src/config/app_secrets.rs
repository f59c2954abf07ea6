//! The secrets of an app.

use super::{App, AppPlugin, AuthConfig};
use crate::secret::Secret;

impl App {
    /// All secrets, each with its key.
    fn secrets(&mut self) -> Vec<(String, &mut Secret)> {
        let admin = self.admin.iter_mut().filter_map(|admin| admin.token.as_mut());
        let dashboard = self.dashboard.token.iter_mut();
        let mut all: Vec<_> = admin.map(|token| ("admin.token".to_owned(), token)).collect();
        all.extend(dashboard.map(|token| ("dashboard.token".to_owned(), token)));
        for (name, pipeline) in &mut self.pipelines {
            let token = pipeline.http.as_mut().and_then(|http| http.token.as_mut());
            all.extend(token.map(|token| (format!("pipelines.{name}.http.token"), token)));
        }
        all.extend(self.auth.iter_mut().flat_map(AuthConfig::secrets_mut));
        for AppPlugin { name, config, .. } in &mut self.plugins {
            let keys = config.iter_mut();
            all.extend(keys.map(|(key, value)| (format!("plugins.{name}.config.{key}"), value)));
        }
        all
    }

    /// Reads the secrets that are in the environment or in files, and checks those that are keys.
    /// The error begins with the key.
    pub(super) fn resolve_secrets(&mut self) -> Result<(), String> {
        let folder = self.folder.clone();
        self.secrets().into_iter().try_for_each(|(key, secret)| {
            secret.settle(&folder).map_err(|why| format!("{key} {why}"))
        })?;
        self.auth.iter().try_for_each(|auth| auth.keys().map(|_| ()))
    }

    /// The secrets that are in files, each with its key.
    pub(crate) fn secrets_in_files(&self) -> Vec<(String, Secret)> {
        let mut app = self.clone();
        let all = app.secrets().into_iter().filter(|(_, secret)| secret.is_in_file());
        all.map(|(key, secret)| (key, secret.clone())).collect()
    }
}
