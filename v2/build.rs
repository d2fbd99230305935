//! Makes Rust of `proto/`. The compiler is a crate, so that no program must be installed.

use std::{error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let compile = |folder: &str, files: &[&str], node: Option<&str>| -> Result<(), Box<dyn Error>> {
        let folder = out.join(folder);
        std::fs::create_dir_all(&folder)?;
        let mut config = prost_build::Config::new();
        config.out_dir(folder).btree_map(["."]).disable_comments(["."]);
        if let Some(node) = node {
            config.extern_path(".coder.tailnet.v2.Node", node);
        }
        Ok(config.compile_fds(protox::compile(files, ["proto"])?)?)
    };
    // The messages that hold a node hold it with the fields that our schema does not have: see src/node.rs.
    compile("node", &["node.proto"], None)?;
    compile("services", &["tailnet.proto", "agent.proto"], Some("crate::node::Node"))
}
