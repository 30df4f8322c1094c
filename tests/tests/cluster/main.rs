//! A real cluster on this machine: its nodes, its pods, its DNS, and nothing of it afterwards.

mod commands;
mod gone;
mod inbound;
mod pods;
