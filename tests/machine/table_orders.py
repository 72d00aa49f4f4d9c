"""Orders of the operations on page tables, 2 MiB pages and hugetlb, written out.

They are rows 3, 4, 8, 11 to 14, 17 to 22, 29 to 31 and 43 of the kernel's operation table.
"""

from __future__ import annotations

from shootdown_protocol.program import State

ZAP_PAGE_RANGE_SINGLE_BATCHED = """
mmap_read_lock invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_get_and_clear <clear_flush> pte_unmap_unlock <after_unlock> invalidate_range_end <range_end>
<before_free> put_page <op_return> mmap_read_unlock return end
"""
UNMAP_MAPPING_RANGE = """
i_mmap_lock_write invalidate_range_start <range_start> pte_offset_map_lock <before_clear>
ptep_get_and_clear <clear_flush> pte_unmap_unlock <after_unlock> invalidate_range_end <range_end>
<before_free> put_page i_mmap_unlock_write <op_return> return end
"""
UNMAP_A_HUGE_MAPPING = """
i_mmap_lock_write pmd_lock pmd_unlock invalidate_range_start <range_start> pmd_lock <before_clear>
pmdp_huge_get_and_clear <clear_flush> pmd_unlock <after_unlock> invalidate_range_end <range_end>
<before_free> folio_put i_mmap_unlock_write <op_return> return end
"""
EXIT_MMAP = """
mmap_write_lock vm_flags_reset <before_clear> pasid_clear_entry <clear_flush>
invalidate_range_start <range_start> pte_offset_map_lock ptep_get_and_clear_full pte_unmap_unlock
<after_unlock> invalidate_range_end <range_end> <before_free> put_page <op_return>
mmap_write_unlock return end
"""
OOM_REAP_TASK_MM = """
mmap_read_lock vm_flags_reset invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_get_and_clear <clear_flush> pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> <before_free> put_page <op_return> mmap_read_unlock return end
"""
MOVE_PTES = """
mmap_write_lock vma_lookup vm_flags_reset invalidate_range_start <range_start> pte_offset_map_lock
pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set>
pte_unmap_unlock pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> vm_flags_reset
<op_return> mmap_write_unlock return return end
"""
MOVE_NORMAL_PMD = """
mmap_write_lock vma_lookup vm_flags_reset invalidate_range_start <range_start> i_mmap_lock_write
pmd_lock <before_clear> pmd_clear <clear_flush> pmd_populate <after_set> pmd_unlock <after_unlock>
i_mmap_unlock_write invalidate_range_end <range_end> vm_flags_reset <op_return> mmap_write_unlock
return return end
"""
SPLIT_HUGE_PMD = """
pte_alloc_one invalidate_range_start <range_start> pmd_lock <before_clear> pmdp_invalidate
<clear_flush> folio_ref_add set_ptes pmd_populate <after_set> pmd_unlock <after_unlock>
invalidate_range_end <range_end> <op_return> return end
"""
DO_HUGE_ZERO_WP_PMD = """
mmap_read_lock pmdp_get_lockless vma_alloc_folio clear_user_page invalidate_range_start
<range_start> pmd_lock <before_clear> pmdp_huge_clear_flush <clear_flush> set_pmd_at <after_set>
pmd_unlock <after_unlock> invalidate_range_end <range_end> mmap_read_unlock <op_return> return end
"""
DO_HUGE_PMD_WP_PAGE = """
mmap_read_lock pmdp_get_lockless pmd_lock wp_can_reuse_anon_folio pmd_unlock pte_alloc_one
invalidate_range_start <range_start> pmd_lock <before_clear> pmdp_invalidate <clear_flush>
folio_ref_add set_ptes pmd_populate <after_set> pmd_unlock <after_unlock> invalidate_range_end
<range_end> ptep_get_lockless pte_offset_map_lock wp_can_reuse_anon_folio get_page
pte_unmap_unlock alloc_page copy_user_page invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set>
pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> put_page mmap_read_unlock
<op_return> return end
"""
COLLAPSE_HUGE_PAGE = """
mmap_write_lock vma_alloc_folio invalidate_range_start <range_start> pmd_lock <before_clear>
pmdp_collapse_flush <clear_flush> pmd_unlock <after_unlock> invalidate_range_end <range_end>
ptep_get wp_can_reuse_anon_folio copy_user_page ptep_clear pmd_lock set_pmd_at <after_set>
pmd_unlock <before_free> put_page <op_return> mmap_write_unlock return end
"""
COLLAPSE_PTE_MAPPED_THP = """
mmap_read_lock invalidate_range_start <range_start> pmd_lock pte_offset_map_lock ptep_get
ptep_clear <before_clear> pmdp_collapse_flush <clear_flush> pte_unmap_unlock pmd_unlock
<after_unlock> put_page invalidate_range_end <range_end> <before_free> pte_free mmap_read_unlock
<op_return> return end
"""
RETRACT_PAGE_TABLES = """
pte_offset_map_lock ptep_clear_flush arch_invalidate_secondary_tlbs wait_invalidate_completion
pte_unmap_unlock put_page i_mmap_lock_write invalidate_range_start <range_start> pmd_lock
pte_offset_map_lock ptep_get <before_clear> pmdp_collapse_flush <clear_flush> pte_unmap_unlock
pmd_unlock <after_unlock> invalidate_range_end <range_end> i_mmap_unlock_write <before_free>
pte_free <op_return> return end
"""
HUGETLB_WP = """
mmap_read_lock pmdp_get_lockless pmd_lock wp_can_reuse_anon_folio get_page pmd_unlock
vma_alloc_folio copy_user_page invalidate_range_start <range_start> pmd_lock <before_clear>
pmdp_huge_clear_flush <clear_flush> set_pmd_at <after_set> pmd_unlock <after_unlock>
invalidate_range_end <range_end> folio_put mmap_read_unlock <op_return> return end
"""
UNMAP_HUGEPAGE_RANGE = """
mmap_write_lock vm_flags_reset i_mmap_lock_write invalidate_range_start <range_start>
ptdesc_pmd_pts_count pmd_lock <before_clear> pmdp_huge_get_and_clear <clear_flush> pmd_unlock
<after_unlock> i_mmap_unlock_write invalidate_range_end <range_end> <before_free> folio_put
<op_return> mmap_write_unlock return end
"""
HUGE_PMD_UNSHARE = """
mmap_write_lock vm_flags_reset i_mmap_lock_write invalidate_range_start <range_start>
ptdesc_pmd_pts_count pmd_lock <before_clear> pud_clear <clear_flush> ptdesc_pmd_pts_dec pmd_unlock
<after_unlock> i_mmap_unlock_write invalidate_range_end <range_end> <before_free> <op_return>
mmap_write_unlock return end
"""
HUGETLB_UNSHARE_PMDS = """
mmap_write_lock invalidate_range_start <range_start> i_mmap_lock_write ptdesc_pmd_pts_count pmd_lock
<before_clear> pud_clear <clear_flush> ptdesc_pmd_pts_dec pmd_unlock <after_unlock>
i_mmap_unlock_write invalidate_range_end <range_end> <op_return> mmap_write_unlock return end
"""
HUGE_PMD_SHARE = """
mmap_read_lock vma_lookup pudp_get <op_return> mmap_read_unlock return end
"""
COPY_HUGETLB_PAGE_RANGE = """
mmap_write_lock invalidate_range_start <range_start> pmd_lock pmd_lock get_page <before_clear>
pmdp_set_wrprotect <clear_flush> set_pmd_at <after_set> pmd_unlock pmd_unlock <after_unlock>
invalidate_range_end <range_end> <op_return> mmap_write_unlock return end
"""
HUGETLB_CHANGE_PROTECTION = """
mmap_write_lock vm_flags_reset i_mmap_lock_write invalidate_range_start <range_start> pmd_lock
<before_clear> pmdp_huge_clear_flush <clear_flush> set_pmd_at <after_set> pmd_unlock
<after_unlock> i_mmap_unlock_write invalidate_range_end <range_end> <op_return> mmap_write_unlock
return end
"""
MOVE_HUGETLB_PAGE_TABLES = """
mmap_write_lock vma_lookup vm_flags_reset i_mmap_lock_write invalidate_range_start <range_start>
pmd_lock <before_clear> pmdp_huge_clear_flush <clear_flush> set_pmd_at <after_set> pmd_unlock
<after_unlock> invalidate_range_end <range_end> i_mmap_unlock_write vm_flags_reset <op_return>
mmap_write_unlock return return end
"""
FREE_PGTABLES = """
mmap_write_lock vm_flags_reset invalidate_range_start <range_start> pte_offset_map_lock
<before_clear> ptep_get_and_clear <clear_flush> pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> pmd_lock <before_clear> pmdp_collapse_flush <clear_flush>
pmd_unlock <after_unlock> <before_free> pte_free put_page <op_return> mmap_write_unlock return end
"""
PAGETABLE_FREE_KERNEL = """
mmap_write_lock vm_flags_reset pmd_lock <before_clear> pmdp_collapse_flush <clear_flush>
pmd_unlock <after_unlock> <before_free> pte_free <op_return> mmap_write_unlock return end
"""
GUP_FAST_PTE_RANGE = """
local_irq_save pmdp_get_lockless ptep_get_lockless try_grab_folio_fast ptep_get_lockless
pmdp_get_lockless local_irq_restore put_page <op_return> return end
"""

TABLE_CASES = [
    ("zap_page_range_single_batched", State.RW, ZAP_PAGE_RANGE_SINGLE_BATCHED),
    ("unmap_mapping_range", State.RW, UNMAP_MAPPING_RANGE),
    ("unmap_mapping_range", State.HUGETLB, UNMAP_A_HUGE_MAPPING),
    ("exit_mmap", State.RW, EXIT_MMAP),
    ("__oom_reap_task_mm", State.RW, OOM_REAP_TASK_MM),
    ("move_ptes", State.RW, MOVE_PTES),
    ("move_normal_pmd", State.RW, MOVE_NORMAL_PMD),
    ("__split_huge_pmd", State.HUGE, SPLIT_HUGE_PMD),
    ("do_huge_zero_wp_pmd", State.HUGE_ZERO, DO_HUGE_ZERO_WP_PMD),
    ("do_huge_pmd_wp_page", State.HUGE_COW, DO_HUGE_PMD_WP_PAGE),
    ("collapse_huge_page", State.RW, COLLAPSE_HUGE_PAGE),
    ("collapse_pte_mapped_thp", State.FILE_THP, COLLAPSE_PTE_MAPPED_THP),
    ("retract_page_tables", State.FILE_THP, RETRACT_PAGE_TABLES),
    ("hugetlb_wp", State.HUGETLB_COW, HUGETLB_WP),
    ("__unmap_hugepage_range", State.HUGETLB, UNMAP_HUGEPAGE_RANGE),
    ("huge_pmd_unshare", State.HUGETLB, HUGE_PMD_UNSHARE),
    ("hugetlb_unshare_pmds", State.HUGETLB, HUGETLB_UNSHARE_PMDS),
    ("huge_pmd_share", State.HUGETLB, HUGE_PMD_SHARE),
    ("copy_hugetlb_page_range", State.HUGETLB, COPY_HUGETLB_PAGE_RANGE),
    ("hugetlb_change_protection", State.HUGETLB, HUGETLB_CHANGE_PROTECTION),
    ("move_hugetlb_page_tables", State.HUGETLB, MOVE_HUGETLB_PAGE_TABLES),
    ("free_pgtables", State.RW, FREE_PGTABLES),
    ("pagetable_free_kernel", State.RW, PAGETABLE_FREE_KERNEL),
    ("gup_fast_pte_range", State.RW, GUP_FAST_PTE_RANGE),
]
