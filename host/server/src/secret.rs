//! Secrets: written in `millrace.toml`, or in the environment, or in a file, which is read again
//! when it changes.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de::Error as _};

use crate::small_file;

/// A secret. Clones share its value: when it is read again, all of them change.
#[derive(Clone)]
pub struct Secret {
    source: Source,
    current: Arc<ArcSwap<String>>,
}

/// The place of a secret.
#[derive(Clone, PartialEq, Eq)]
enum Source {
    Written,
    Env(String),
    File(PathBuf),
}

/// The most bytes of a file with a secret.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Secret {
    /// A secret that is written where it is used.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self::from(Source::Written, text.into())
    }

    fn from(source: Source, text: String) -> Self {
        Self { source, current: Arc::new(ArcSwap::from_pointee(text)) }
    }

    /// The secret that a table with the one key `env` or `file` names; `None` for other tables.
    pub(crate) fn of_table(table: &toml::Table) -> Option<Self> {
        let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
        let text = value.as_str()?.to_owned();
        match key.as_str() {
            "env" => Some(Self::from(Source::Env(text), String::new())),
            "file" => Some(Self::from(Source::File(text.into()), String::new())),
            _ => None,
        }
    }

    /// The text as plugins get it: it changes in place when the secret is read again.
    #[must_use]
    pub(crate) fn live(&self) -> Arc<ArcSwap<String>> {
        Arc::clone(&self.current)
    }

    /// The current text.
    #[must_use]
    pub fn get(&self) -> Arc<String> {
        self.current.load_full()
    }

    /// Reads the secret for the first time; relative paths begin in `folder`.
    ///
    /// # Errors
    ///
    /// Text that begins as what follows the key, and says what to do.
    pub(crate) fn settle(&mut self, folder: &Path) -> Result<(), String> {
        match &mut self.source {
            Source::Written => {}
            Source::Env(name) => {
                let text = std::env::var(&*name).unwrap_or_default();
                if text.is_empty() {
                    return Err(format!(
                        "is {{ env = {name:?} }}, and there is no such variable or it is empty; set \
                         it"
                    ));
                }
                self.current.store(Arc::new(text));
            }
            Source::File(path) => {
                *path = folder.join(&*path);
                let path = path.clone();
                self.reread().map_err(|problem| {
                    format!("{problem}; {}", advice(read(&path).err().map(|error| error.kind())))
                })?;
            }
        }
        Ok(())
    }

    /// Whether the secret is in a file.
    pub(crate) fn is_in_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    /// Whether the secret is written in the configuration and empty, so that everybody knows it.
    pub(crate) fn is_nothing(&self) -> bool {
        self.source == Source::Written && self.get().is_empty()
    }

    /// Reads the file again, if there is one. Returns whether the text has changed.
    ///
    /// # Errors
    ///
    /// Text that begins as what follows the key.
    pub(crate) fn reread(&self) -> Result<bool, String> {
        let Source::File(path) = &self.source else { return Ok(false) };
        let shown = path.display();
        let text =
            read(path).map_err(|error| format!("is in {shown}, which cannot be read: {error}"))?;
        if text.is_empty() {
            return Err(format!("is in {shown}, which is empty"));
        }
        if *self.get() == text {
            return Ok(false);
        }
        self.current.store(Arc::new(text));
        Ok(true)
    }
}

/// What an operator can do about a file that has no secret, or cannot be read.
fn advice(unread: Option<io::ErrorKind>) -> &'static str {
    match unread {
        Some(io::ErrorKind::PermissionDenied) => "let the server's user read it",
        _ => "write the secret there",
    }
}

/// The text of a file, without the line break at its end.
fn read(path: &Path) -> io::Result<String> {
    let bytes = small_file::read(path, MAX_SECRET_BYTES)?;
    let mut text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.get() == other.get()
    }
}

impl Eq for Secret {}

/// Shows the place of the secret, and whether it is another one; never the text.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Written => {
                let mut hasher = DefaultHasher::new();
                self.get().hash(&mut hasher);
                write!(f, "Secret({:016x})", hasher.finish())
            }
            Source::Env(name) => write!(f, "Secret(env {name:?})"),
            Source::File(path) => write!(f, "Secret(file {path:?})"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, { env = \"NAME\" } or { file = \"PATH\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                match Table::deserialize(MapAccessDeserializer::new(map))? {
                    Table { env: Some(name), file: None } => {
                        Ok(Secret::from(Source::Env(name), String::new()))
                    }
                    Table { env: None, file: Some(path) } => {
                        Ok(Secret::from(Source::File(path), String::new()))
                    }
                    Table { .. } => Err(A::Error::custom("one of `env` and `file` is expected")),
                }
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Config {
        token: Secret,
    }

    fn token(text: &str, folder: &Path) -> Result<Secret, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut token = config.token;
        token.settle(folder).map(|()| token)
    }

    #[test]
    fn a_secret_is_written_or_in_the_environment_or_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "in the file\r\n").unwrap();
        let path = std::env::var("PATH").unwrap();
        for (text, expected) in [
            ("token = \"here\"", "here"),
            ("token = { env = \"PATH\" }", path.as_str()),
            ("token = { file = \"token\" }", "in the file"),
        ] {
            assert_eq!(*token(text, folder.path()).unwrap().get(), expected, "{text}");
        }
        fs::write(folder.path().join("empty"), "\n").unwrap();
        for (text, problem) in [
            ("token = { env = \"MILLRACE_NO_SUCH\" }", "there is no such variable or it is empty"),
            ("token = { file = \"no\" }", "which cannot be read: No such file"),
            ("token = { file = \"empty\" }", "which is empty; write the secret there"),
            ("token = { file = \".\" }", "it is no file"),
            ("token = { file = \"a\", env = \"b\" }", "one of `env` and `file` is expected"),
            ("token = 5", "a text, { env = \"NAME\" } or { file = \"PATH\" }"),
        ] {
            let error = token(text, folder.path()).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_to_be_written() {
        let text = advice(Some(io::ErrorKind::PermissionDenied));
        assert_eq!(text, "let the server's user read it");
        assert_eq!(advice(Some(io::ErrorKind::NotFound)), "write the secret there");
        assert_eq!(advice(None), "write the secret there");
    }

    #[test]
    fn one_in_a_file_is_read_anew_in_all_its_clones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "old").unwrap();
        let token = token("token = { file = \"token\" }", folder.path()).unwrap();
        let clone = token.clone();
        assert_eq!(token.reread(), Ok(false));
        fs::write(&path, "new").unwrap();
        assert_eq!((token.reread(), clone.get().as_str()), (Ok(true), "new"));
        // A file that is being written has no secret yet.
        fs::write(&path, "").unwrap();
        assert!(token.reread().unwrap_err().contains("which is empty"));
        assert_eq!(clone.get().as_str(), "new");
    }

    #[test]
    fn it_is_not_told() {
        let token = Secret::new("hunter2");
        assert!(!format!("{token:?}").contains("hunter2"));
        assert_ne!(format!("{token:?}"), format!("{:?}", Secret::new("hunter3")));
    }
}
