//! Files and directories: private ones, files told apart by inode, files below a directory that
//! others may write to, and sealed files in memory.

pub mod beneath;
pub mod descriptors;
pub mod file;
pub mod lock;
pub mod memfd;
pub mod private_dir;
