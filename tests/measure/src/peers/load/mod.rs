//! A load process: thousands of peers in one thread, which costs the machine as little as it can.

mod calls;
mod peers;
mod reading;
pub mod run;
mod schedule;
mod serving;
mod socket;
mod talk;
mod views;
mod wire;
