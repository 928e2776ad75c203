//! `wardian cache`: where the cache of compiled code is and how full, or nothing left in it.

use crate::args::{CacheAction, CacheArgs};
use crate::options::Choices;
use std::process::ExitCode;
use wardian::{Cache, CacheUsage, Result};

/// Shows the cache, or clears it.
///
/// # Errors
///
/// When there is no place for one, its folder cannot be used, or an entry cannot be removed.
pub fn cache(args: &CacheArgs, choices: &Choices) -> Result<ExitCode> {
    let cache = Cache::new(&choices.cache_config)?;
    let text = match args.action {
        Some(CacheAction::Clear) => cleared(cache.clear()?),
        None if args.clear => cleared(cache.clear()?),
        None => shown(&cache, cache.usage()?),
    };
    crate::print(text)
}

fn shown(cache: &Cache, usage: CacheUsage) -> String {
    format!(
        "folder   {}\nentries  {}\nbytes    {}\nlimit    {}\n",
        cache.directory().display(),
        usage.entries,
        usage.bytes,
        cache.size_limit()
    )
}

fn cleared(usage: CacheUsage) -> String {
    format!("removed {} entries, {} bytes\n", usage.entries, usage.bytes)
}
