//! Options that were renamed. The old name of an option and of its variable work for one release, with a warning.

use std::ffi::{OsStr, OsString};

/// An option under its old and its new name.
struct Renamed {
    old: &'static str,
    new: &'static str,
}

/// These were never about the heartbeat of the coordinator.
const RENAMED: [Renamed; 2] = [
    Renamed { old: "heartbeat-limit", new: "liveness-limit" },
    Renamed { old: "heartbeat-interval", new: "liveness-interval" },
];

/// The arguments with the new names of all options, and what to warn about. `variable` reads the environment.
///
/// An argument wins over a variable, and a variable under the new name over one under the old name.
pub fn translate(
    arguments: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> (Vec<OsString>, Vec<String>) {
    let (mut arguments, mut warnings): (Vec<OsString>, _) = (arguments.into_iter().collect(), Vec::new());
    for Renamed { old, new } in RENAMED {
        for argument in &mut arguments {
            if let Some(value) = value_of(argument, old) {
                *argument = format!("--{new}{value}").into();
                warnings.push(format!("--{old} is now --{new}; the old name will go with the next release"));
            }
        }
        let (old_variable, new_variable) = (variable_of(old), variable_of(new));
        let Some(value) = variable(&old_variable) else { continue };
        warnings.push(format!("{old_variable} is now {new_variable}; the old name will go with the next release"));
        let given = arguments.iter().any(|argument| value_of(argument, new).is_some());
        if !given && variable(&new_variable).is_none() {
            let mut argument = OsString::from(format!("--{new}="));
            argument.push(value);
            // Before all others: `--` ends the options.
            arguments.insert(arguments.len().min(1), argument);
        }
    }
    (arguments, warnings)
}

/// What follows the name of the option in an argument: nothing or `=value`. None: it is another argument.
fn value_of<'a>(argument: &'a OsStr, option: &str) -> Option<&'a str> {
    let value = argument.to_str()?.strip_prefix("--")?.strip_prefix(option)?;
    (value.is_empty() || value.starts_with('=')).then_some(value)
}

fn variable_of(option: &str) -> String {
    format!("TAILNET_{}", option.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(arguments: &[&str], variables: &[(&str, &str)]) -> (Vec<String>, usize) {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let (arguments, warnings) = translate(arguments.iter().map(OsString::from), variable);
        let arguments = arguments.into_iter().map(|argument| argument.into_string().expect("UTF-8"));
        (arguments.collect(), warnings.len())
    }

    fn owned(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn an_old_option_becomes_the_new_one_with_a_warning() {
        let old = ["proxy", "--heartbeat-limit=7", "--heartbeat-interval", "2s", "--heartbeat-limits"];
        let new = ["proxy", "--liveness-limit=7", "--liveness-interval", "2s", "--heartbeat-limits"];
        assert_eq!(translated(&old, &[]), (owned(&new), 2));
        assert_eq!(translated(&new, &[]), (owned(&new), 0));
    }

    #[test]
    fn an_old_variable_is_used_unless_the_new_name_is_given() {
        let old = ("TAILNET_HEARTBEAT_LIMIT", "7");
        assert_eq!(translated(&["proxy"], &[old]), (owned(&["proxy", "--liveness-limit=7"]), 1));
        assert_eq!(translated(&["proxy"], &[old, ("TAILNET_LIVENESS_LIMIT", "8")]), (owned(&["proxy"]), 1));
        let given = ["proxy", "--liveness-limit=9"];
        assert_eq!(translated(&given, &[old]), (owned(&given), 1));
    }
}
