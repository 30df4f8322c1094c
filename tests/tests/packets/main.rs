//! The packet path: programs at pods' interfaces, on built packets and on real traffic.

mod table;
