//! What the command line programs have in common.
//!
//! - [`progress`]: how far a program is, on stderr
//! - [`signals`]: Ctrl-C and SIGTERM
//! - [`time`]: times on the command line
//! - [`exit`]: how a program ends

pub mod exit;
pub mod progress;
pub mod signals;
pub mod time;

pub use exit::exit;
pub use progress::Progress;
pub use signals::{Signals, or_stopped};
