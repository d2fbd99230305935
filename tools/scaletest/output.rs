//! Where the figures go.

use std::{fs, path::PathBuf, str::FromStr};

use anyhow::{Context, Result};

use crate::{figures::Figures, report::Report};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    form: Form,
    /// None: stdout.
    path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (form, path) = text.split_once(':').map_or((text, None), |(form, path)| (form, Some(path)));
        let form = match form {
            "text" => Form::Text,
            "json" => Form::Json,
            _ => return Err("expected text, json, text:PATH or json:PATH".to_owned()),
        };
        match path {
            Some("") => Err("expected a path after the colon".to_owned()),
            path => Ok(Self { form, path: path.map(PathBuf::from) }),
        }
    }
}

impl Output {
    /// Writes the figures there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write<F: Figures>(&self, report: &Report<F>) -> Result<()> {
        let text = match self.form {
            Form::Text => report.to_string(),
            Form::Json => serde_json::to_string_pretty(report)? + "\n",
        };
        match &self.path {
            Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
            None => {
                print!("{text}");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_paths() {
        let output = |form, path: Option<&str>| Ok(Output { form, path: path.map(PathBuf::from) });
        assert_eq!("text".parse(), output(Form::Text, None));
        assert_eq!("json".parse(), output(Form::Json, None));
        assert_eq!("json:/a:b".parse(), output(Form::Json, Some("/a:b")));
        for bad in ["", "xml", "json:", "JSON"] {
            assert!(bad.parse::<Output>().is_err(), "{bad}");
        }
    }
}
