"""Orders of the operations that look at pages through their holders: rows 23 to 43 of the table."""

from __future__ import annotations

from shootdown_protocol.program import State

TRY_TO_MIGRATE_ONE = """
folio_isolate_lru invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_clear_flush <clear_flush> set_pte_at <after_set> put_page pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> folio_ref_freeze alloc_page folio_mc_copy pte_offset_map_lock
get_page set_pte_at pte_unmap_unlock folio_unlock <before_free> put_page put_page <op_return>
return end
"""
RECLAIM_TO_SWAP = """
folio_isolate_lru folio_alloc_swap invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_clear_flush <clear_flush> swap_duplicate set_pte_at <after_set> put_page
pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> swap_writeout remove_mapping
folio_unlock <before_free> put_page <op_return> return end
"""
RECLAIM_TO_FILE = """
folio_isolate_lru invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_clear_flush <clear_flush> <after_set> folio_mark_dirty put_page pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> folio_test_clear_dirty pageout remove_mapping
folio_unlock <before_free> put_page <op_return> return end
"""
DO_SWAP_PAGE = """
mmap_read_lock ptep_get_lockless vma_lookup swap_cache_get_folio alloc_page swap_read_folio
pte_offset_map_lock swap_free set_pte_at pte_unmap_unlock <op_return> mmap_read_unlock return end
"""
WRITE_PROTECT_PAGE = """
mmap_write_lock get_ksm_page folio_isolate_lru invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> folio_ref_freeze set_pte_at
<after_set> pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> pages_identical
invalidate_range_start pte_offset_map_lock ptep_clear_flush arch_invalidate_secondary_tlbs
wait_invalidate_completion set_pte_at pte_unmap_unlock invalidate_range_end put_page folio_unlock
put_page <op_return> mmap_write_unlock return end
"""
PAGE_VMA_MKCLEAN_ONE = """
filemap_get_folio folio_lock invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> folio_mark_dirty folio_test_clear_dirty
folio_unlock submit_bio put_page <op_return> return end
"""
PROCESS_VM_READV = """
folio_isolate_lru copy_page_to_iter folio_unlock put_page <op_return> return end
"""
CLEAR_REFS_WRITE = """
mmap_write_lock invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_modify_prot_start <clear_flush> ptep_modify_prot_commit <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> <op_return> mmap_write_unlock return end
"""
PAGEMAP_SCAN_PMD_ENTRY = """
mmap_read_lock invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_modify_prot_start <clear_flush> ptep_modify_prot_commit <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> <op_return> mmap_read_unlock return end
"""
UFFD_WP_RANGE = """
mmap_read_lock inc_tlb_flush_pending invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_modify_prot_start <clear_flush> ptep_modify_prot_commit <after_set>
pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> <op_return> dec_tlb_flush_pending
mmap_read_unlock return end
"""
WP_CLEAN_PRE_VMA = """
invalidate_range_start <range_start> inc_tlb_flush_pending pte_offset_map_lock <before_clear>
ptep_modify_prot_start <clear_flush> ptep_modify_prot_commit <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> dec_tlb_flush_pending <op_return> return end
"""
PIN_USER_PAGES = """
gup_fast mmap_read_lock vma_lookup ptep_get_lockless pte_offset_map_lock wp_can_reuse_anon_folio
get_page pte_unmap_unlock alloc_page copy_user_page invalidate_range_start pte_offset_map_lock
ptep_clear_flush arch_invalidate_secondary_tlbs wait_invalidate_completion set_pte_at
pte_unmap_unlock invalidate_range_end put_page mmap_read_unlock gup_fast put_page <op_return>
return end
"""
MADVISE_FREE_SINGLE_VMA = """
mmap_read_lock invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
clear_young_dirty_ptes <clear_flush> <after_set> folio_mark_lazyfree pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> <op_return> mmap_read_unlock return end
"""
WP_PAGE_REUSE = """
mmap_read_lock ptep_get_lockless pte_offset_map_lock wp_can_reuse_anon_folio ptep_set_access_flags
pte_unmap_unlock <op_return> mmap_read_unlock return end
"""
REPLACE_PAGE_OF_PROBE = """
mmap_write_lock ptep_get_lockless alloc_page copy_user_page copy_to_page invalidate_range_start
<range_start> pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> set_pte_at
<after_set> pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> put_page <op_return>
mmap_write_unlock return end
"""
UPROBE_WRITE = """
mmap_write_lock invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_clear_flush <clear_flush> copy_to_page set_pte_at <after_set> pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> <op_return> mmap_write_unlock return end
"""
SET_ORIG_INSN = """
mmap_write_lock filemap_get_folio invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_clear_flush <clear_flush> pages_identical <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> put_page put_page <op_return> mmap_write_unlock
return end
"""
CHANGE_PROT_NUMA = """
mmap_read_lock inc_tlb_flush_pending invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_modify_prot_start <clear_flush> set_pte_at <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> <op_return> dec_tlb_flush_pending mmap_read_unlock
return end
"""
MIGRATE_VMA_COLLECT = """
mmap_read_lock folio_isolate_lru invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set> put_page pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> folio_ref_freeze alloc_page copy_to_device
pte_offset_map_lock set_pte_at pte_unmap_unlock folio_unlock <before_free> put_page <op_return>
mmap_read_unlock return end
"""
MIGRATE_VMA_INSERT_PAGE = """
mmap_read_lock alloc_page clear_user_page invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> <op_return> mmap_read_unlock return end
"""
MAKE_DEVICE_EXCLUSIVE = """
mmap_read_lock folio_isolate_lru invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set> pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> folio_unlock put_page <op_return> mmap_read_unlock
return end
"""
MOVE_PAGES_PTES = """
mmap_read_lock vma_lookup vm_flags_reset folio_isolate_lru invalidate_range_start <range_start>
pte_offset_map_lock pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush>
folio_ref_freeze set_pte_at <after_set> pte_unmap_unlock pte_unmap_unlock <after_unlock>
folio_unlock put_page invalidate_range_end <range_end> <op_return> mmap_read_unlock return return
end
"""
TRY_TO_UNMAP = """
folio_isolate_lru folio_alloc_swap invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_get_and_clear <clear_flush> set_tlb_ubc_flush_pending swap_duplicate set_pte_at
<after_set> put_page pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> <before_free>
swap_writeout remove_mapping folio_unlock put_page <op_return> return end
"""
AGING = """
pte_offset_map_lock <before_clear> ptep_test_and_clear_young <clear_flush> pte_unmap_unlock
<after_unlock> <op_return> return end
"""
DAMON_FOLIO_YOUNG_ONE = "pte_offset_map_lock pte_unmap_unlock <op_return> return end"

PAGE_CASES = [
    ("folio_referenced_one", State.RW, AGING),
    ("page_idle_clear_pte_refs_one", State.RW, AGING),
    ("damon_folio_young_one", State.RW, DAMON_FOLIO_YOUNG_ONE),
    ("try_to_unmap", State.RW, TRY_TO_UNMAP),
    ("try_to_migrate_one", State.RW, TRY_TO_MIGRATE_ONE),
    ("try_to_unmap_one", State.RW, RECLAIM_TO_SWAP),
    ("try_to_unmap_one", State.FILE, RECLAIM_TO_FILE),
    ("do_swap_page", State.SWAPPED, DO_SWAP_PAGE),
    ("write_protect_page", State.KSM_TWIN, WRITE_PROTECT_PAGE),
    ("page_vma_mkclean_one", State.FILE, PAGE_VMA_MKCLEAN_ONE),
    ("process_vm_readv", State.RO, PROCESS_VM_READV),
    ("clear_refs_write", State.RW, CLEAR_REFS_WRITE),
    ("pagemap_scan_pmd_entry", State.RW, PAGEMAP_SCAN_PMD_ENTRY),
    ("uffd_wp_range", State.RW, UFFD_WP_RANGE),
    ("wp_clean_pre_vma", State.FILE, WP_CLEAN_PRE_VMA),
    ("pin_user_pages", State.COW, PIN_USER_PAGES),
    ("madvise_free_single_vma", State.RW, MADVISE_FREE_SINGLE_VMA),
    ("wp_page_reuse", State.WRPROTECTED, WP_PAGE_REUSE),
    ("__replace_page", State.RO, REPLACE_PAGE_OF_PROBE),
    ("uprobe_write", State.RO, UPROBE_WRITE),
    ("set_orig_insn", State.UPROBED, SET_ORIG_INSN),
    ("change_prot_numa", State.RW, CHANGE_PROT_NUMA),
    ("migrate_vma_collect", State.RW, MIGRATE_VMA_COLLECT),
    ("migrate_vma_insert_page", State.ZERO, MIGRATE_VMA_INSERT_PAGE),
    ("make_device_exclusive", State.RW, MAKE_DEVICE_EXCLUSIVE),
    ("move_pages_ptes", State.RW, MOVE_PAGES_PTES),
]
